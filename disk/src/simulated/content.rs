//! What a simulated file holds: what is read now, and what a power loss could make of it.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;

use rand::Rng;
use rand::rngs::SmallRng;

/// What a disk writes as a whole, or not at all.
pub const SECTOR: usize = 512;
const PAGE: usize = 4096;
/// How many overwritten sectors a file remembers, for making one stale.
const REMEMBERED: usize = 16;

type Sector = [u8; SECTOR];

/// A file's bytes. Pages are shared between copies until written, and absent while they are zeroes: a file that is
/// allocated whole costs a pointer per page.
#[derive(Clone)]
pub(super) struct Content {
    size: u64,
    pages: Vec<Option<Arc<[u8; PAGE]>>>,
    /// Earlier contents of sectors written since the last sync, in the order of the writes.
    unsynced: Vec<(u64, Sector)>,
    /// The same of sectors whose sync failed: no later sync makes them durable, only writing them again does.
    doubtful: Vec<(u64, Sector)>,
    overwritten: VecDeque<(u64, Sector)>,
}

/// How much of the unsynced a power loss keeps.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kept {
    Nothing,
    Everything,
    /// Sectors below a random one are written, those from it on are not.
    Prefix,
    /// Every sector decides for itself, and may also stop at one of several unsynced writes to it.
    Any,
}

impl Kept {
    pub(super) fn choose(rng: &mut SmallRng) -> Kept {
        match rng.random_range(0..10) {
            0..3 => Kept::Nothing,
            3 => Kept::Everything,
            4..7 => Kept::Prefix,
            _ => Kept::Any,
        }
    }
}

impl Content {
    pub(super) fn new(size: u64) -> Content {
        let pages = vec![None; size.div_ceil(PAGE as u64) as usize];
        Content { size, pages, unsynced: Vec::new(), doubtful: Vec::new(), overwritten: VecDeque::new() }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn read(&self, position: u64, buffer: &mut [u8]) -> usize {
        let len = self.size.saturating_sub(position).min(buffer.len() as u64) as usize;
        let mut done = 0;
        while done < len {
            let at = position as usize + done;
            let (page, within) = (at / PAGE, at % PAGE);
            let n = (PAGE - within).min(len - done);
            match &self.pages[page] {
                Some(bytes) => buffer[done..done + n].copy_from_slice(&bytes[within..within + n]),
                None => buffer[done..done + n].fill(0),
            }
            done += n;
        }
        len
    }

    /// Writes the first `limit` bytes of `parts`; the range has been checked.
    pub(super) fn write(&mut self, position: u64, parts: &[IoSlice<'_>], limit: usize) {
        let mut at = position;
        let mut left = limit;
        let mut remembered = None;
        for part in parts {
            let mut part = &part[..part.len().min(left)];
            left -= part.len();
            while !part.is_empty() {
                let sector = at / SECTOR as u64;
                let n = (SECTOR - at as usize % SECTOR).min(part.len());
                if remembered != Some(sector) {
                    remembered = Some(sector);
                    let before = self.sector(sector);
                    self.unsynced.push((sector, before));
                }
                self.put(at, &part[..n]);
                part = &part[n..];
                at += n as u64;
            }
        }
    }

    pub(super) fn sync(&mut self) {
        if !self.doubtful.is_empty() {
            let written = &self.unsynced;
            self.doubtful.retain(|(sector, _)| written.iter().all(|(other, _)| other != sector));
        }
        let keep = self.unsynced.len().saturating_sub(REMEMBERED);
        self.overwritten.extend(self.unsynced.drain(..).skip(keep));
        let forget = self.overwritten.len().saturating_sub(REMEMBERED);
        self.overwritten.drain(..forget);
    }

    /// A sync that failed: the system forgets that these sectors are to be written.
    pub(super) fn fail_sync(&mut self) {
        self.doubtful.append(&mut self.unsynced);
    }

    pub(super) fn lose_power(&mut self, rng: &mut SmallRng) {
        let mut versions: BTreeMap<u64, Vec<Sector>> = BTreeMap::new();
        for (sector, before) in self.doubtful.drain(..).chain(self.unsynced.drain(..)) {
            versions.entry(sector).or_default().push(before);
        }
        let kept = Kept::choose(rng);
        let until = match versions.len() {
            0 => return,
            n => versions.keys().nth(rng.random_range(0..n)).copied().unwrap_or(0),
        };
        for (sector, before) in versions {
            let version = match kept {
                Kept::Nothing => 0,
                Kept::Everything => before.len(),
                Kept::Prefix if sector < until => before.len(),
                Kept::Prefix => 0,
                Kept::Any => rng.random_range(0..=before.len()),
            };
            if let Some(bytes) = before.get(version) {
                self.put_sector(sector, bytes);
            }
        }
    }

    /// Forgets what was volatile: as it is now, so it is durable.
    pub(super) fn settle(&mut self) {
        self.unsynced.clear();
        self.doubtful.clear();
    }

    /// Puts back what a durable sector held before it was last written.
    pub(super) fn make_stale(&mut self, rng: &mut SmallRng, which: &dyn Fn(u64) -> bool) -> Option<u64> {
        if self.overwritten.is_empty() {
            return None;
        }
        let (sector, before) = self.overwritten.remove(rng.random_range(0..self.overwritten.len()))?;
        if before == self.sector(sector) || !which(sector * SECTOR as u64) {
            return None;
        }
        self.put_sector(sector, &before);
        Some(sector * SECTOR as u64)
    }

    /// Flips a bit of a page that has been written.
    pub(super) fn flip_bit(&mut self, rng: &mut SmallRng, which: &dyn Fn(u64) -> bool) -> Option<u64> {
        let written: Vec<usize> = (0..self.pages.len()).filter(|page| self.pages[*page].is_some()).collect();
        let page = *written.get(rng.random_range(0..written.len().max(1)))?;
        let within = rng.random_range(0..PAGE.min(self.size as usize - page * PAGE));
        let (position, bit) = ((page * PAGE + within) as u64, rng.random_range(0..8));
        which(position).then(|| self.flip_bit_at(position, bit))?;
        Some(position)
    }

    pub(super) fn clear(&mut self, position: u64, len: usize) {
        let end = self.size.min(position + len as u64);
        for at in position.min(end)..end {
            self.put(at, &[0]);
        }
    }

    /// Where the last byte that is not zero ends.
    pub(super) fn written(&self) -> u64 {
        let Some(last) = self.pages.iter().rposition(Option::is_some) else { return 0 };
        let bytes = self.pages[last]
            .as_ref()
            .map_or(0, |page| page.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1));
        (last * PAGE + bytes) as u64
    }

    pub(super) fn flip_bit_at(&mut self, position: u64, bit: u32) {
        let mut byte = [0];
        if self.read(position, &mut byte) == 1 {
            self.put(position, &[byte[0] ^ (1 << bit)]);
        }
    }

    pub(super) fn truncate(&mut self, size: u64) {
        self.settle();
        self.overwritten.clear();
        self.size = self.size.min(size);
        self.pages.truncate(self.size.div_ceil(PAGE as u64) as usize);
    }

    fn sector(&self, sector: u64) -> Sector {
        let mut bytes = [0; SECTOR];
        self.read(sector * SECTOR as u64, &mut bytes);
        bytes
    }

    fn put_sector(&mut self, sector: u64, bytes: &Sector) {
        let position = sector * SECTOR as u64;
        let len = (self.size - position).min(SECTOR as u64) as usize;
        self.put(position, &bytes[..len]);
    }

    /// Bytes of one sector.
    fn put(&mut self, position: u64, bytes: &[u8]) {
        let (page, within) = (position as usize / PAGE, position as usize % PAGE);
        let page = self.pages[page].get_or_insert_with(|| Arc::new([0; PAGE]));
        Arc::make_mut(page)[within..within + bytes.len()].copy_from_slice(bytes);
    }
}
