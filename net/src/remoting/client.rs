//! Connections that are made when somebody asks, one for each address.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::remoting::Command;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::server::Shared;
use super::{Connection, Handler, Settings, Unanswered};

/// Asks servers. Dropped, it closes its connections.
pub struct Client {
    shared: Arc<Shared>,
    links: Mutex<BTreeMap<String, Arc<Link>>>,
}

/// The connection to one address; whoever connects holds the lock, and others wait for what becomes of it.
#[derive(Default)]
struct Link {
    connecting: tokio::sync::Mutex<()>,
    conn: Mutex<Option<Arc<Connection>>>,
}

impl Link {
    fn open(&self) -> Option<Arc<Connection>> {
        self.conn.lock().clone().filter(|conn| conn.is_open())
    }
}

impl Client {
    /// `handler` takes what servers ask of us.
    pub fn new(handler: Arc<dyn Handler>, settings: Settings) -> Client {
        // Whoever asks must go on reading replies however much he still has to say: were both ends to stop, neither
        // would ever go on. What he may have to say is bounded by `most_unsent`.
        let settings = Settings { much_unsent: usize::MAX, ..settings };
        Client { shared: Shared::new(handler, settings), links: Mutex::default() }
    }

    /// The open connection to `address` (`host:port`), made if there is none.
    pub async fn connection(&self, address: &str) -> Result<Arc<Connection>, Unanswered> {
        let link = self.link(address);
        if let Some(conn) = link.open() {
            return Ok(conn);
        }
        let _mine = link.connecting.lock().await;
        if let Some(conn) = link.open() {
            return Ok(conn);
        }
        let unreachable = |reason: String| Unanswered::Unreachable { address: address.to_owned(), reason };
        let patience = self.shared.settings.connect_timeout;
        let socket = timeout(patience, TcpStream::connect(address))
            .await
            .map_err(|_| unreachable("it did not answer in time".to_owned()))?
            .map_err(|error| unreachable(error.to_string()))?;
        let (conn, session) = self.shared.connect(socket).map_err(|error| unreachable(error.to_string()))?;
        tokio::spawn(session);
        *link.conn.lock() = Some(conn.clone());
        Ok(conn)
    }

    /// The connection to `address` if it is open.
    pub fn connected(&self, address: &str) -> Option<Arc<Connection>> {
        let link = self.links.lock().get(address).cloned()?;
        link.open()
    }

    pub async fn ask(
        &self,
        address: &str,
        request: Command,
        patience: Duration,
    ) -> Result<Command, Unanswered> {
        self.connection(address).await?.ask(request, patience).await
    }

    /// Sends a request to which no reply will come.
    pub async fn tell(&self, address: &str, request: Command) -> Result<(), Unanswered> {
        if self.connection(address).await?.tell(request) { Ok(()) } else { Err(Unanswered::Closed) }
    }

    /// Closes the connection to `address`, if there is one, and forgets it.
    pub fn close(&self, address: &str) {
        let link = self.links.lock().remove(address);
        if let Some(conn) = link.and_then(|link| link.conn.lock().take()) {
            conn.close();
        }
    }

    fn link(&self, address: &str) -> Arc<Link> {
        let mut links = self.links.lock();
        if let Some(link) = links.get(address) {
            return link.clone();
        }
        links.entry(address.to_owned()).or_default().clone()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        for link in self.links.get_mut().values() {
            if let Some(conn) = link.conn.lock().take() {
                conn.close();
            }
        }
    }
}
