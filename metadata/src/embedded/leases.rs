//! Leases, in memory: none outlives the process.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{Error, LeaseId};

pub struct Leases {
    /// The file's generation in the upper half of every id: no id is given twice, over restarts too.
    generation: u64,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    given: u32,
    leases: BTreeMap<LeaseId, Lease>,
}

struct Lease {
    ttl: Duration,
    ends: Instant,
}

impl Leases {
    pub fn new(generation: u64) -> Leases {
        Leases { generation, held: Mutex::default() }
    }

    pub fn grant(&self, ttl: Duration) -> LeaseId {
        let mut held = self.held.lock();
        held.given = held.given.wrapping_add(1).max(1);
        let id = LeaseId(((self.generation << 32) | u64::from(held.given)) as i64 & i64::MAX);
        held.leases.insert(id, Lease { ttl, ends: Instant::now() + ttl });
        id
    }

    pub fn renew(&self, id: LeaseId) -> Result<(), Error> {
        let now = Instant::now();
        match self.held.lock().leases.get_mut(&id) {
            Some(lease) if lease.ends > now => {
                lease.ends = now + lease.ttl;
                Ok(())
            }
            _ => Err(Error::LeaseGone),
        }
    }

    pub fn alive(&self, id: LeaseId) -> bool {
        self.held.lock().leases.contains_key(&id)
    }

    pub fn end(&self, id: LeaseId) {
        self.held.lock().leases.remove(&id);
    }

    /// Leases whose time is over. They can be neither renewed nor used from now on.
    pub fn take_ended(&self) -> Vec<LeaseId> {
        let now = Instant::now();
        let mut held = self.held.lock();
        let ended: Vec<LeaseId> =
            held.leases.iter().filter(|(_, l)| l.ends <= now).map(|(id, _)| *id).collect();
        for id in &ended {
            held.leases.remove(id);
        }
        ended
    }

    /// When the next one ends.
    pub fn next_end(&self) -> Option<Instant> {
        self.held.lock().leases.values().map(|lease| lease.ends).min()
    }
}
