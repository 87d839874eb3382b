//! The shelf on simulated disks.

mod harness;
mod model;
mod requests;
mod restarts;
