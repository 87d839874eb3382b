//! RocketMQ's clients while processes die, pause and leave: eight producers, eight consumers, and a judge that knows
//! everything that they were told. Victims are picked by their role. Each case fails if there was no load before or
//! after its fault, if nothing changed hands where it must, if anything acknowledged is lost or moved, or if a queue is
//! out of order. What is stored or handed out twice is counted, and the longest gap is printed.

mod bookies;
mod brokers;
mod etcd;
mod journal;
mod namesrvs;
mod servers;
mod traffic;

use std::time::Duration;

use crate::suite::Case;

/// Load goes on again within this time after any fault.
const SOON: Duration = Duration::from_secs(30);

pub fn all() -> Vec<Case> {
    vec![
        Case::new("messages: kill -9 of the owner", || Box::pin(brokers::killed())),
        Case::new("messages: SIGSTOP of the owner", || Box::pin(brokers::paused())),
        Case::new("messages: graceful stop of the owner", || Box::pin(brokers::stopped())),
        Case::new("messages: kill -9 of a bookie", || Box::pin(bookies::killed())),
        Case::new("messages: SIGSTOP of a bookie", || Box::pin(bookies::paused())),
        Case::new("messages: graceful stop of a bookie", || Box::pin(bookies::stopped())),
        Case::new("messages: kill -9 of a name server", || Box::pin(namesrvs::killed())),
        Case::new("messages: SIGSTOP of a name server", || Box::pin(namesrvs::paused())),
        Case::new("messages: etcd paused", || Box::pin(etcd::paused())),
        Case::new("messages: etcd killed and restarted", || Box::pin(etcd::killed())),
    ]
}
