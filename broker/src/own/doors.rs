//! The front of a process in the product: listeners, and what name servers are told.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use net::remoting::{self, Listening, Memory, Server};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::Settings;
use super::announce::{Announcer, Offer};
use super::front::{self, Doing, Front};
use crate::serve::Served;
use crate::serve::door::VIP;

pub(super) struct Sockets {
    settings: Settings,
    /// Of the connections of all virtual brokers.
    memory: Memory,
    announcer: Announcer,
}

impl Sockets {
    pub fn new(settings: &Settings) -> Sockets {
        Sockets {
            memory: Memory::new(settings.net.memory),
            announcer: Announcer::start(settings.cluster.clone(), &settings.namesrvs),
            settings: settings.clone(),
        }
    }
}

impl Front for Sockets {
    fn bind(&self, vb: u32) -> Doing<'_, io::Result<Box<dyn front::Bound>>> {
        let (host, port) = (&self.settings.host, self.settings.port(vb));
        Box::pin(async move {
            let (net, memory) = (self.settings.net.clone(), self.memory.clone());
            Ok(Box::new(Bound::bind(host, port, net, memory).await?) as Box<dyn front::Bound>)
        })
    }

    fn offer(&self, vb: u32, port: u16, served: &Arc<Served>) {
        self.announcer.offer(vb, Offer::new(&self.settings, port, served.clone()));
    }

    fn withdraw(&self, vb: u32, unregister: bool) {
        self.announcer.withdraw(vb, unregister);
    }

    fn news(&self) {
        self.announcer.news();
    }

    fn told(&self, virtual_brokers: usize) -> Doing<'_, ()> {
        Box::pin(self.announcer.told(virtual_brokers))
    }

    fn unregister_all(&self) -> Doing<'_, ()> {
        Box::pin(self.announcer.unregister_all())
    }
}

/// Sockets that are bound and not served yet.
struct Bound {
    main: TcpListener,
    vip: Option<TcpListener>,
    port: u16,
    net: remoting::Settings,
    memory: Memory,
}

/// Listeners at work; dropped, they and their connections are closed at once.
struct Doors {
    listening: Vec<Listening>,
}

impl Bound {
    async fn bind(host: &str, port: u16, net: remoting::Settings, memory: Memory) -> io::Result<Bound> {
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
        Ok(Bound { main, vip, port, net, memory })
    }
}

impl front::Bound for Bound {
    fn port(&self) -> u16 {
        self.port
    }

    fn open(self: Box<Self>, served: &Arc<Served>) -> io::Result<Box<dyn front::Doors>> {
        let Bound { main, vip, net, memory, .. } = *self;
        let server = Server::within(served.door(), net, &memory);
        let listening = std::iter::once(main).chain(vip).map(|listener| server.listen(listener));
        Ok(Box::new(Doors { listening: listening.collect::<Result<_, _>>()? }))
    }
}

async fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((host.trim_matches(['[', ']']), port)).await
}

impl front::Doors for Doors {
    fn close(self: Box<Self>, patience: Duration) -> Doing<'static, ()> {
        let closing: JoinSet<()> =
            self.listening.into_iter().map(|listening| listening.close(patience)).collect();
        Box::pin(async move { drop(closing.join_all().await) })
    }
}
