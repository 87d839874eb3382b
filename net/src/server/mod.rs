//! The bookie's listener: v2, v3 and our extension on one port.
//!
//! * [`conn`] — what a connection owes: replies are encoded as they are answered and written by whoever answers.
//! * [`session`] — the task of a connection: reads, decodes, submits, minds limits and deadlines.
//! * [`intake`] — frames to requests.

mod conn;
mod intake;
mod session;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::bookie::extension::{CAPABILITIES, Welcome};
use slab::Slab;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::budget::Budget;
use crate::complaints::Complaints;
use crate::{Service, admit_many, keep_alive};
use conn::Conn;

#[derive(Clone, Debug)]
pub struct Settings {
    /// Whom clients are talking to: they hang up on a bookie that they did not mean.
    pub bookie: String,
    pub incarnation: u64,
    /// Bytes that all connections together may hold: of half frames, of requests being served, of unwritten replies.
    pub memory: usize,
    /// Of which one connection may hold so much.
    pub per_connection: usize,
    /// A frame that has begun must be whole within this time.
    pub half_frame: Duration,
    /// A peer that takes no byte of its replies for this long is cut off.
    pub slow_reader: Duration,
    pub max_connections: usize,
}

impl Settings {
    /// Settings for a server that may use `memory` bytes.
    pub fn new(bookie: String, incarnation: u64, memory: usize) -> Settings {
        Settings {
            bookie,
            incarnation,
            memory,
            per_connection: (memory / 4).max(64 * 1024),
            half_frame: Duration::from_secs(30),
            slow_reader: Duration::from_secs(30),
            max_connections: 50_000,
        }
    }
}

/// A running server. Dropped, it closes all connections at once.
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
}

/// What all connections of a server share.
struct Shared {
    settings: Settings,
    service: Arc<dyn Service>,
    budget: Budget,
    complaints: Complaints,
    conns: Mutex<Conns>,
    /// A connection is gone, or the server is to stop.
    changed: Notify,
}

#[derive(Default)]
struct Conns {
    open: Slab<Arc<Conn>>,
    stopping: bool,
}

/// Serves `service` on `listener`, on the runtime that this is called on.
pub fn serve(listener: TcpListener, service: Arc<dyn Service>, settings: Settings) -> io::Result<Server> {
    let address = listener.local_addr()?;
    admit_many(&listener)?;
    let budget = Budget::new(settings.memory);
    let shared = Arc::new(Shared {
        settings,
        service,
        budget,
        complaints: Complaints::default(),
        conns: Mutex::default(),
        changed: Notify::new(),
    });
    tokio::spawn(accept(listener, shared.clone()));
    Ok(Server { shared, address })
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.changed.notified() => {
                if shared.conns.lock().stopping {
                    return;
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => open(&shared, socket, peer),
            Err(error) => {
                // Out of file descriptors, mostly: those in use have to be given back first.
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn open(shared: &Arc<Shared>, socket: TcpStream, peer: SocketAddr) {
    let mut conns = shared.conns.lock();
    if conns.stopping || conns.open.len() >= shared.settings.max_connections {
        let open = conns.open.len();
        drop(conns);
        return shared.complain(peer, format_args!("refused, there are {open} connections already"));
    }
    // Both only fail on a socket that is broken already.
    let _ = socket.set_nodelay(true).and_then(|()| keep_alive(&socket));
    let (read, write) = socket.into_split();
    let conn = Conn::new(write, shared.clone());
    let slot = conns.open.insert(conn.clone());
    drop(conns);
    tokio::spawn(session::run(conn, read, peer, slot));
}

impl Shared {
    fn welcome(&self) -> Welcome {
        let Settings { bookie, incarnation, .. } = &self.settings;
        Welcome { capabilities: CAPABILITIES, incarnation: *incarnation, bookie: bookie.clone() }
    }

    fn complain(&self, peer: SocketAddr, what: impl std::fmt::Display) {
        self.complaints.log(peer, what);
    }

    fn closed(&self, slot: usize) {
        let mut conns = self.conns.lock();
        conns.open.try_remove(slot);
        let last = conns.stopping && conns.open.is_empty();
        drop(conns);
        if last {
            self.changed.notify_one();
        }
    }

    fn end(&self, close: fn(&Conn)) {
        let conns = {
            let mut conns = self.conns.lock();
            conns.stopping = true;
            conns.open.iter().map(|(_, conn)| conn.clone()).collect::<Vec<_>>()
        };
        conns.iter().for_each(|conn| close(conn));
    }
}

impl Server {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn connections(&self) -> usize {
        self.shared.conns.lock().open.len()
    }

    /// Stops listening and reading, answers what was asked, and closes. What is not answered within `patience` is
    /// cut off.
    pub async fn stop(self, patience: Duration) {
        self.shared.end(Conn::finish);
        self.shared.changed.notify_one();
        let gone = async {
            while self.connections() > 0 {
                self.shared.changed.notified().await;
            }
        };
        if timeout(patience, gone).await.is_err() {
            tracing::warn!("{} connections had requests unanswered and were cut off", self.connections());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.end(Conn::cut);
        self.shared.changed.notify_one();
    }
}

#[cfg(test)]
mod tests;
