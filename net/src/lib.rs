//! Sockets, and the one form in which a request to a bookie gets its reply.
//!
//! * [`reply`] — a request's reply and the duty to give it; [`Bookies`]: how one reaches bookies.
//! * [`client`] and [`local`] — two ways to reach them: over TCP, and in the same process.
//! * [`server`] — the bookie's listener, in front of a [`Service`].
//! * [`remoting`] — RocketMQ's connections, both ends of them.
//! * [`gather`] — waking, and writing, once for many replies.
//! * [`http`] — metrics, health and readiness; [`metrics`] — what /metrics tells.

mod allowance;
mod budget;
pub mod client;
mod complaints;
mod gather;
pub mod http;
mod local;
pub mod metrics;
mod pipe;
mod receive;
pub mod remoting;
pub mod reply;
mod resolve;
pub mod server;
mod service;

pub use gather::{Wake, gather, wake_later};
pub use local::Local;
pub use reply::{Bookies, Failure, Inbox, Replies, Reply, ReplyTo, ask};
pub use resolve::{Dns, Resolve, Resolving};
pub use service::{Pressure, Service};

/// Finds out, when nothing is said, that a peer is gone: cut off, or dead without having closed.
fn keep_alive(socket: &tokio::net::TcpStream) -> std::io::Result<()> {
    use std::time::Duration;
    let probes = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15));
    socket2::SockRef::from(socket).set_tcp_keepalive(&probes)
}

/// Lets many come at once, as all clients do when a broker is back: whoever finds no place tries again a second later. The
/// kernel has a bound of its own (net.core.somaxconn).
fn admit_many(listener: &tokio::net::TcpListener) -> std::io::Result<()> {
    socket2::SockRef::from(listener).listen(16_384)
}

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod toy;
