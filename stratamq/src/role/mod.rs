//! What the subcommands do.

pub mod config;
