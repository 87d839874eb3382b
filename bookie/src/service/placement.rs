//! Which disk has, or gets, a ledger: chosen at its first add by free space, and remembered by the disk itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use protocol::LedgerId;
use protocol::bookie::Refusal;

use crate::shelf::Reader;

pub struct Placement {
    shelves: Vec<Place>,
    /// Choices, and what disks were found to know: none is forgotten before its disk knows it.
    found: Mutex<BTreeMap<LedgerId, usize>>,
    most: usize,
}

struct Place {
    reader: Reader,
    /// Bytes that normal adds may still take; 0 while read-only.
    free: AtomicU64,
}

impl Placement {
    pub fn new(readers: Vec<Reader>, most: usize) -> Placement {
        let shelves = readers.into_iter().map(|reader| Place { reader, free: AtomicU64::new(1) }).collect();
        Placement { shelves, found: Mutex::default(), most: most.max(16) }
    }

    pub fn reader(&self, shelf: usize) -> Option<&Reader> {
        self.shelves.get(shelf).map(|place| &place.reader)
    }

    pub fn readers(&self) -> impl Iterator<Item = &Reader> {
        self.shelves.iter().map(|place| &place.reader)
    }

    /// Whether the disk has anything of the ledger, as far as it can be read.
    pub fn knows(&self, shelf: usize, ledger: LedgerId) -> bool {
        self.reader(shelf).is_some_and(|reader| reader.knows(ledger).unwrap_or(false))
    }

    pub fn set_free(&self, shelf: usize, free: u64) {
        if let Some(place) = self.shelves.get(shelf) {
            place.free.store(free, Ordering::Relaxed);
        }
    }

    /// The disk that has the ledger; `None` if none has.
    pub fn find(&self, ledger: LedgerId) -> Result<Option<usize>, Refusal> {
        if self.shelves.len() == 1 {
            return Ok(Some(0));
        }
        let mut found = self.found.lock();
        self.look_up(&mut found, ledger)
    }

    /// The disk that has the ledger, or from now on will.
    pub fn find_or_choose(&self, ledger: LedgerId) -> Result<usize, Refusal> {
        if self.shelves.len() == 1 {
            return Ok(0);
        }
        let mut found = self.found.lock();
        if let Some(shelf) = self.look_up(&mut found, ledger)? {
            return Ok(shelf);
        }
        let free =
            |shelf: &usize| self.shelves.get(*shelf).map_or(0, |place| place.free.load(Ordering::Relaxed));
        // Free space decides in steps, so that ledgers alternate between disks that are about equally full.
        let spread = |shelf: usize| (ledger.0 as u64).wrapping_add(shelf as u64) % self.shelves.len() as u64;
        let chosen =
            (0..self.shelves.len()).max_by_key(|shelf| (free(shelf).checked_ilog2(), spread(*shelf)));
        let chosen = chosen.ok_or(Refusal::Io)?;
        self.remember(&mut found, ledger, chosen)?;
        Ok(chosen)
    }

    fn look_up(
        &self,
        found: &mut BTreeMap<LedgerId, usize>,
        ledger: LedgerId,
    ) -> Result<Option<usize>, Refusal> {
        if let Some(shelf) = found.get(&ledger) {
            return Ok(Some(*shelf));
        }
        for (shelf, place) in self.shelves.iter().enumerate() {
            if place.reader.knows(ledger).map_err(|_| Refusal::Io)? {
                self.remember(found, ledger, shelf)?;
                return Ok(Some(shelf));
            }
        }
        Ok(None)
    }

    fn remember(
        &self,
        found: &mut BTreeMap<LedgerId, usize>,
        ledger: LedgerId,
        shelf: usize,
    ) -> Result<(), Refusal> {
        if found.len() >= self.most {
            found.retain(|ledger, shelf| !self.knows(*shelf, *ledger));
            if found.len() >= self.most {
                return Err(Refusal::TooManyRequests);
            }
        }
        found.insert(ledger, shelf);
        Ok(())
    }
}
