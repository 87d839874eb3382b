//! Agreement: who owns what. A [`store::Store`] keeps keys with revisions; [`etcd`] and [`embedded`] implement it.
//! [`schema`] knows every key and every value; [`ledgers`], [`registry`], [`lease`], [`election`], [`clocks`] and [`cluster`] are
//! what is done with them; [`suite`] is what every store must do.

pub mod clocks;
pub mod cluster;
pub mod election;
pub mod embedded;
pub mod etcd;
pub mod lease;
pub mod ledgers;
pub mod registry;
pub mod schema;
pub mod settle;
pub mod store;
pub mod stripe;
pub mod suite;

pub use lease::{Lease, Lock};
pub use ledgers::{Ledgers, Stored};
pub use schema::{LedgerMetadata, Scope, Segment, State};
pub use settle::commit;
pub use store::{Compare, Error, KeyValue, LeaseId, Op, Revision, Store, Txn, TxnOutcome};
