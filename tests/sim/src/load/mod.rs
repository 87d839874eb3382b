//! What clients do while things go wrong.

pub mod ledgers;
pub mod logs;
pub mod reading;
pub mod zombie;

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::chance::Chance;
use crate::process::Process;
use crate::world::{Peer, World};

/// The client processes of a run, as the nemesis finds them.
#[derive(Clone, Default)]
pub struct Clients(Arc<Mutex<Vec<Arc<Process>>>>);

impl Clients {
    /// A new client process.
    pub fn join(&self, world: &World, name: &str) -> Peer {
        let peer = world.peer(name);
        let mut all = self.0.lock();
        all.retain(|process| !process.is_dead());
        all.push(peer.process.clone());
        peer
    }

    pub fn alive(&self) -> Vec<Arc<Process>> {
        let all = self.0.lock();
        all.iter().filter(|process| !process.is_dead()).cloned().collect()
    }

    pub fn leave(&self, peer: &Peer) {
        peer.process.kill();
    }

    pub fn resume_all(&self) {
        self.alive().iter().for_each(|process| process.resume());
    }
}

/// A payload that no other entry of the run has (unless it is shorter than its number).
pub fn payload(chance: &Chance, sizes: (u64, u64)) -> Bytes {
    let len = chance.within(sizes.0..sizes.1 + 1) as usize;
    let number = chance.number().to_be_bytes();
    number.iter().copied().cycle().take(len).collect::<Vec<u8>>().into()
}
