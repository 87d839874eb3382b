//! The real cores in a simulated world, and a judge.

pub mod agenda;
pub mod brokers;
pub mod chance;
pub mod judge;
pub mod load;
pub mod metastore;
pub mod nemesis;
pub mod network;
pub mod node;
pub mod plan;
pub mod process;
pub mod replacement;
pub mod run;
pub mod scenarios;
pub mod stage;
pub mod trace;
pub mod world;
