//! The duty to answer one request.

use net::{Failure, ReplyTo};
use protocol::bookie::Outcome;

/// Held by the shelf until the answer may be given. Dropped unanswered (the shelf has stopped), it MUST tell its
/// asker that nothing is known of the request's effect.
pub trait Duty: Send + 'static {
    fn answer(self, outcome: Outcome);
}

impl Duty for ReplyTo {
    fn answer(self, outcome: Outcome) {
        ReplyTo::answer(self, outcome.map_err(Failure::Refused));
    }
}
