//! The shelf on simulated disks.

mod golden;
mod harness;
mod model;
mod requests;
mod restarts;
