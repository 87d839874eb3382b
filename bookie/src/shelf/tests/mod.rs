//! The shelf on simulated disks.

mod harness;
mod requests;
mod restarts;
