//! RocketMQ's connections. Both ends may ask and tell: brokers ask clients too.
//!
//! * [`connection`] — one connection, of either end: what it has to say, and whom it has asked.
//! * [`asks`] — requests that wait for their replies.
//! * [`session`] — the task of a connection: reads, decodes, hands over; minds limits and deadlines.
//! * [`server`] — listeners.
//! * [`client`] — connections that are made when somebody asks.

mod asks;
mod client;
mod connection;
mod kept;
mod server;
mod session;

use std::sync::Arc;
use std::time::Duration;

use protocol::remoting::{Command, MAX_FRAME};

pub use asks::Unanswered;
pub use client::Client;
pub use connection::Connection;
pub use server::{Listening, Memory, Server};

/// Whoever takes requests: a broker or a name server, or a client whom its broker asks.
pub trait Handler: Send + Sync + 'static {
    /// MUST NOT block: it runs on the connection's task, for one request after the other as they were read. Every
    /// request MUST get one reply ([`Connection::reply`]), now or later; the replies to one-way requests go nowhere.
    fn request(&self, from: &Arc<Connection>, request: Command);

    /// All requests of one read were handed over: a burst is complete.
    fn drained(&self, _from: &Arc<Connection>) {}

    /// The connection is gone. Called once, after its last request.
    fn closed(&self, connection: &Arc<Connection>);
}

/// Limits, for all connections of a server or client.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes that all connections together may hold: of frames that are not whole, of what is not written, and, a quarter,
    /// of requests that have no answer yet.
    pub memory: usize,
    /// With so many bytes unwritten nothing more is read from a connection.
    pub much_unsent: usize,
    /// Nor with so many bytes of requests that have no answer yet.
    pub much_unanswered: usize,
    /// With so many it is cut off.
    pub most_unsent: usize,
    pub max_frame: usize,
    /// A frame that has begun must be whole within this time.
    pub half_frame: Duration,
    /// A peer that takes no byte of what is sent to it for this long is cut off.
    pub slow_reader: Duration,
    /// A connection on which nothing was said for this long is closed.
    pub idle: Duration,
    pub max_connections: usize,
    /// For a client.
    pub connect_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            memory: 128 << 20,
            much_unsent: 4 << 20,
            much_unanswered: 4 << 20,
            most_unsent: 64 << 20,
            max_frame: MAX_FRAME,
            half_frame: Duration::from_secs(30),
            slow_reader: Duration::from_secs(30),
            idle: Duration::from_secs(120),
            max_connections: 50_000,
            connect_timeout: Duration::from_secs(3),
        }
    }
}

#[cfg(test)]
mod tests;
