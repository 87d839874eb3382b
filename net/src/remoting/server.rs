//! Listeners, each with the connections that came by it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use slab::Slab;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::kept::AllKept;
use super::{Connection, Handler, Settings, session};
use crate::budget::Budget;
use crate::complaints::Complaints;
use crate::pipe::Pipe;
use crate::{admit_many, keep_alive};

/// What the connections of a server, or of a client, share.
pub(super) struct Shared {
    pub settings: Settings,
    pub handler: Arc<dyn Handler>,
    pub budget: Arc<Budget>,
    pub kept: Arc<AllKept>,
    pub complaints: Complaints,
    ids: AtomicU64,
    open: AtomicUsize,
}

impl Shared {
    pub fn new(handler: Arc<dyn Handler>, settings: Settings) -> Arc<Shared> {
        let memory = Memory::new(settings.memory);
        Shared::within(handler, settings, &memory)
    }

    fn within(handler: Arc<dyn Handler>, settings: Settings, memory: &Memory) -> Arc<Shared> {
        Arc::new(Shared {
            budget: memory.buffers.clone(),
            kept: memory.kept.clone(),
            settings,
            handler,
            complaints: Complaints::default(),
            ids: AtomicU64::new(1),
            open: AtomicUsize::new(0),
        })
    }

    /// A connection over `socket`, and its task.
    pub fn connect(
        self: &Arc<Shared>,
        socket: TcpStream,
    ) -> io::Result<(Arc<Connection>, impl Future<Output = ()> + Send + 'static)> {
        socket.set_nodelay(true)?;
        keep_alive(&socket)?;
        let ends = (socket.peer_addr()?, socket.local_addr()?);
        let (read, write) = socket.into_split();
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let conn = Connection::new(id, ends, Pipe::new(write), self.clone());
        Ok((conn.clone(), session::run(conn, read)))
    }
}

/// Bytes that the connections of several servers may hold together. Clones share them.
#[derive(Clone)]
pub struct Memory {
    /// Of frames that are not whole, and of what is not written.
    buffers: Arc<Budget>,
    /// Of requests that have no answer yet.
    kept: Arc<AllKept>,
}

impl Memory {
    pub fn new(bytes: usize) -> Memory {
        let kept = bytes / 4;
        Memory { buffers: Arc::new(Budget::new(bytes - kept)), kept: Arc::new(AllKept::new(kept)) }
    }

    /// Bytes that are held now.
    pub fn held(&self) -> usize {
        self.buffers.used() + self.kept.bytes()
    }
}

/// Listeners that share a handler and limits.
pub struct Server {
    shared: Arc<Shared>,
}

impl Server {
    pub fn new(handler: Arc<dyn Handler>, settings: Settings) -> Server {
        Server { shared: Shared::new(handler, settings) }
    }

    /// A server that shares its memory with others; the one in `settings` does not count.
    pub fn within(handler: Arc<dyn Handler>, settings: Settings, memory: &Memory) -> Server {
        Server { shared: Shared::within(handler, settings, memory) }
    }

    /// Serves what comes by `listener`, on the runtime that this is called on.
    pub fn listen(&self, listener: TcpListener) -> io::Result<Listening> {
        let address = listener.local_addr()?;
        admit_many(&listener)?;
        let door =
            Arc::new(Door { shared: self.shared.clone(), conns: Mutex::default(), changed: Notify::new() });
        tokio::spawn(accept(listener, door.clone()));
        Ok(Listening { door, address })
    }

    /// Bytes held for all connections: of frames that are not whole, of what is not written, and of requests that have no
    /// answer yet.
    pub fn held(&self) -> usize {
        self.shared.budget.used() + self.shared.kept.bytes()
    }

    /// Connections, over all listeners.
    pub fn connections(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }
}

/// A listener at work. Dropped, it closes, and its connections at once.
pub struct Listening {
    door: Arc<Door>,
    address: SocketAddr,
}

struct Door {
    shared: Arc<Shared>,
    conns: Mutex<Conns>,
    /// A connection is gone, or the listener is to close.
    changed: Notify,
}

#[derive(Default)]
struct Conns {
    open: Slab<Arc<Connection>>,
    closing: bool,
}

impl Listening {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn connections(&self) -> usize {
        self.door.conns.lock().open.len()
    }

    /// Stops listening and reading, lets what was asked be answered, and closes. What is not answered within
    /// `patience` is cut off.
    pub async fn close(self, patience: Duration) {
        self.door.end(Connection::finish);
        let gone = async {
            while self.connections() > 0 {
                self.door.changed.notified().await;
            }
        };
        if timeout(patience, gone).await.is_err() {
            tracing::info!(
                "{}: {} connections had requests unanswered and were cut off",
                self.address,
                self.connections()
            );
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.door.end(Connection::close);
    }
}

async fn accept(listener: TcpListener, door: Arc<Door>) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = door.changed.notified() => {
                if door.conns.lock().closing {
                    // Whoever waits for the last connection shares this bell.
                    drop(listener);
                    return door.changed.notify_one();
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => door.open(socket, peer),
            Err(error) => {
                // Out of file descriptors, mostly: those in use have to be given back first.
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

impl Door {
    fn open(self: &Arc<Door>, socket: TcpStream, peer: SocketAddr) {
        let mut conns = self.conns.lock();
        if conns.closing {
            return;
        }
        let open = self.shared.open.load(Ordering::Relaxed);
        if open >= self.shared.settings.max_connections {
            let what = format_args!("refused, there are {open} connections already");
            return self.shared.complaints.log(peer, what);
        }
        let (conn, session) = match self.shared.connect(socket) {
            Ok(connected) => connected,
            Err(error) => return tracing::debug!("{peer}: gone before it was served: {error}"),
        };
        let slot = conns.open.insert(conn);
        self.shared.open.fetch_add(1, Ordering::Relaxed);
        drop(conns);
        let door = self.clone();
        tokio::spawn(async move {
            session.await;
            door.closed(slot);
        });
    }

    fn closed(&self, slot: usize) {
        let mut conns = self.conns.lock();
        conns.open.try_remove(slot);
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
        let last = conns.closing && conns.open.is_empty();
        drop(conns);
        if last {
            self.changed.notify_one();
        }
    }

    fn end(&self, close: fn(&Connection)) {
        let conns: Vec<_> = {
            let mut conns = self.conns.lock();
            conns.closing = true;
            conns.open.iter().map(|(_, conn)| conn.clone()).collect()
        };
        conns.iter().for_each(|conn| close(conn));
        self.changed.notify_one();
    }
}
