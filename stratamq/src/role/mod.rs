//! What the subcommands do.

pub mod autorecovery;
pub mod bookie;
pub mod broker;
pub mod config;
pub mod namesrv;
mod process;
pub mod quickstart;
pub mod standalone;
