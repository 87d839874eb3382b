//! What stands behind a server: a bookie, or a test.

use protocol::bookie::Request;

use crate::ReplyTo;

/// Answers requests. Implementations: the bookie, and the bookies of tests.
pub trait Service: Send + Sync + 'static {
    /// Takes requests in the order in which they arrived on one connection. Adds to one ledger MUST take effect in
    /// that order. MUST NOT block: every duty is answered later, from any thread, or from inside this call. Who
    /// answers many at once SHOULD do so inside [`crate::gather`].
    fn submit(&self, batch: Vec<(Request, ReplyTo)>);
}
