//! Faults on a cluster under load. Each case fails if nothing was acknowledged before, during (where it must go on)
//! or after its fault, if no ledger changed where one must, or if anything acknowledged cannot be read back.

mod crash;
mod disk;
mod metadata;
mod network;
mod pause;
mod takeover;

use crate::suite::Case;

pub fn all() -> Vec<Case> {
    vec![
        Case::new("kill -9 of a member of the open ensemble", || Box::pin(crash::member())),
        Case::new("kill -9 of two members at once", || Box::pin(crash::two_members())),
        Case::alone("graceful stop of a member under load", || Box::pin(crash::graceful_stop())),
        Case::new("all processes at once", || Box::pin(crash::everything())),
        Case::new("SIGSTOP of a member of the open ensemble", || Box::pin(pause::member())),
        Case::new("SIGSTOP of the lease holder", || Box::pin(pause::lease_holder_loses_office())),
        Case::new("kill -9 of the writer", || Box::pin(takeover::killed_writer())),
        Case::new("SIGSTOP of the writer, and a second owner", || Box::pin(takeover::paused_writer())),
        Case::new("full disk", || Box::pin(disk::full())),
        Case::new("one disk lost", || Box::pin(disk::lost())),
        Case::new("network cut to a member, silently", || Box::pin(network::silent())),
        Case::new("network cut one way", || Box::pin(network::one_way())),
        Case::new("connections reset", || Box::pin(network::reset())),
        Case::new("a bookie cut off from etcd", || Box::pin(network::no_metadata())),
        Case::new("etcd paused under load", || Box::pin(metadata::paused())),
        Case::new("etcd killed and restarted under load", || Box::pin(metadata::killed())),
    ]
}
