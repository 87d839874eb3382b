//! What stands behind a server: a bookie, or a test.

use std::future::Future;
use std::pin::Pin;

use protocol::bookie::Request;

use crate::ReplyTo;

/// Whether a service wants more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressure {
    Room,
    /// It has taken what it was given, and wants no more until [`Service::room`] returns.
    Full,
}

/// Answers requests. Implementations: the bookie, and the bookies of tests.
pub trait Service: Send + Sync + 'static {
    /// Takes requests in the order in which they arrived on one connection. Adds to one ledger MUST take effect in
    /// that order. MUST NOT block: every duty is answered later, from any thread, or from inside this call. Who
    /// answers many at once SHOULD do so inside [`crate::gather`].
    fn submit(&self, batch: Vec<(Request, ReplyTo)>) -> Pressure;

    /// Returns once there is room for more. MUST be safe to cancel.
    fn room(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}
