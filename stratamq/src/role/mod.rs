//! What the subcommands do.

pub mod bookie;
pub mod config;
pub mod quickstart;
