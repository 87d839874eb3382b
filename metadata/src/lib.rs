//! Agreement: who owns what. A [`store::Store`] keeps keys with revisions; [`etcd`] and [`embedded`] implement it.

pub mod store;

pub use store::{Compare, Error, KeyValue, Op, Revision, Store, Txn, TxnOutcome};
