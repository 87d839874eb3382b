//! Receiving.
//!
//! * [`pull`] — consumers that ask.
//! * [`push`] — consumers that are handed messages.
//! * [`group`] — a member of a group: what it wants, and which queues it has.
//! * [`share`] — which queues are whose.
//! * [`feed`] — one queue: pulls, hands out, keeps the offset.
//! * [`hand`] — what becomes of messages that were handed out.

mod feed;
mod group;
mod hand;
mod progress;
mod pull;
mod push;
mod share;

pub(crate) use group::Group;
pub(crate) use pull::about;
pub use pull::{Counted, PullConsumer, Pulled};
pub use push::{PushBuilder, PushConsumer};

use protocol::body::heartbeat::Subscription;

use crate::Received;

/// What a consumer says of messages that it was handed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consumed {
    Done,
    /// Again, later: after the broker's back-off, or, in order, after a second.
    Later,
}

/// Where a group begins that has no offset yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// With the oldest message.
    First,
    /// With what comes after the group began.
    #[default]
    Last,
    /// With the first message that was stored at this time or later, in ms since 1970.
    Time(i64),
}

/// The broker selects by hashes of tags: what it hands out has to be compared.
pub(crate) fn wanted(subscription: &Subscription, message: &Received) -> bool {
    if !subscription.is_by_tags() || subscription.is_all() {
        return true;
    }
    message.tag().is_some_and(|tag| subscription.tags_set.iter().any(|wanted| wanted == tag))
}
