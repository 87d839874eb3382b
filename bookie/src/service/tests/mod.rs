//! A whole bookie, over simulated disks and a metadata store on one, with paused time.

mod adds;
mod doubt;
mod first_add;
mod life;
mod threads;
mod upkeep;
mod world;
