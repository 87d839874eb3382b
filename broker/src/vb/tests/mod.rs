//! Virtual brokers over logs in memory.

mod checkpoints;
mod model;
mod reading;
mod retention;
mod sending;
mod thinning;
mod world;
