//! The real cores in a simulated world, and a judge.

pub mod agenda;
pub mod chance;
pub mod judge;
pub mod metastore;
pub mod network;
pub mod process;
pub mod trace;
