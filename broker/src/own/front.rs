//! How a broker process meets its clients: what requests come in by, and who is told where they go. Sockets and name
//! servers in the product ([`super::doors`]), something else in a simulation; who serves what is decided alike.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::serve::Served;

pub type Doing<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The front of one process.
pub trait Front: Send + Sync + 'static {
    /// Gets ready to take requests for a virtual broker, before it is taken over. What cannot be served here MUST fail.
    fn bind(&self, vb: u32) -> Doing<'_, io::Result<Box<dyn Bound>>>;

    /// Tells name servers that a virtual broker is served here, until it is withdrawn. Never waits.
    fn offer(&self, vb: u32, port: u16, served: &Arc<Served>);

    /// Says nothing more of a virtual broker. Only one that is still ours is to be unregistered: another's registration is
    /// none of our business. Never waits.
    fn withdraw(&self, vb: u32, unregister: bool);

    /// Topics have changed. Never waits.
    fn news(&self);

    /// Waits until every name server that answers has heard of so many virtual brokers.
    fn told(&self, virtual_brokers: usize) -> Doing<'_, ()>;

    /// At the end: name servers forget what is to be unregistered, within a moment or not at all.
    fn unregister_all(&self) -> Doing<'_, ()>;
}

/// Where requests for one virtual broker will come in.
pub trait Bound: Send {
    fn port(&self) -> u16;

    /// Lets requests in, from now on.
    fn open(self: Box<Self>, served: &Arc<Served>) -> io::Result<Box<dyn Doors>>;
}

/// Requests come in. Dropped, connections MUST be closed at once, as those of a dead process are.
pub trait Doors: Send {
    /// Takes no more requests, and closes when what was asked is answered, or after `patience`.
    fn close(self: Box<Self>, patience: Duration) -> Doing<'static, ()>;
}
