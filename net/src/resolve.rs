//! Where a bookie listens now.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use protocol::BookieId;

pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// Finds a bookie's addresses. Implementations: the cluster's registry, and [`Dns`].
pub trait Resolve: Send + Sync + 'static {
    /// Addresses to try, the best first. Asked before every attempt to connect: an answer may be cached, but MUST
    /// follow a bookie that moves within seconds.
    fn resolve<'a>(&'a self, bookie: &'a BookieId) -> Resolving<'a>;
}

/// A bookie's id is its address: how Apache's bookies are found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dns;

impl Resolve for Dns {
    fn resolve<'a>(&'a self, bookie: &'a BookieId) -> Resolving<'a> {
        Box::pin(async move { Ok(tokio::net::lookup_host(bookie.as_str()).await?.collect()) })
    }
}
