//! The listeners of one virtual broker.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use net::remoting::{Handler, Listening, Memory, Server, Settings};
use tokio::net::TcpListener;

/// Old clients, and the dashboard, send to the port that is so much lower.
const VIP: u16 = 2;

/// Sockets that are bound and not served yet.
pub(super) struct Bound {
    main: TcpListener,
    vip: Option<TcpListener>,
    pub port: u16,
}

/// Listeners at work; dropped, they and their connections are closed at once.
pub(super) struct Doors {
    listening: Vec<Listening>,
}

impl Bound {
    pub async fn bind(host: &str, port: u16) -> io::Result<Bound> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot listen on {host}:{port}: {error}"))
        };
        let main = bind(host, port).await.map_err(named)?;
        let vip = match port {
            // A free port for tests.
            0..=VIP => None,
            port => bind(host, port - VIP)
                .await
                .inspect_err(|error| {
                    tracing::warn!("clients before 4.5 are not served, port {}: {error}", port - VIP)
                })
                .ok(),
        };
        let port = main.local_addr()?.port();
        Ok(Bound { main, vip, port })
    }

    pub fn serve(self, handler: Arc<dyn Handler>, settings: Settings, memory: &Memory) -> io::Result<Doors> {
        let server = Server::within(handler, settings, memory);
        let listening = std::iter::once(self.main).chain(self.vip).map(|listener| server.listen(listener));
        Ok(Doors { listening: listening.collect::<Result<_, _>>()? })
    }
}

async fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((host.trim_matches(['[', ']']), port)).await
}

impl Doors {
    /// Takes no more requests, and closes when what was asked is answered.
    pub async fn close(self, patience: Duration) {
        let mut closing = tokio::task::JoinSet::new();
        for listening in self.listening {
            closing.spawn(listening.close(patience));
        }
        closing.join_all().await;
    }
}
