//! From positions to entries. A link's positions follow from its entries' lengths, so an entry is found by
//! interpolation in a few reads, and a reader that goes on is found at once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use metadata::Stored;
use parking_lot::Mutex;
use protocol::{EntryId, LedgerId};

use super::core::end_position;
use super::spans::Spans;
use super::{ChainLog, StoredLink};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::log::format::Head;
use crate::log::{Entry, Position};
use crate::reader::{LedgerEntry, LedgerReader, ReadPatience};
use crate::writer::End;

/// Ledgers kept open, and known places in each.
const OPEN: usize = 32;
const HINTS: usize = 1024;

pub struct Readers {
    cluster: Cluster,
    open: Mutex<BTreeMap<LedgerId, Arc<OpenLink>>>,
    /// Counts reads, to tell which link was not read for longest.
    reads: AtomicU64,
}

pub(super) struct OpenLink {
    pub(super) reader: LedgerReader,
    pub(super) base: Position,
    /// It has only what was needed: its entries' positions do not follow from their lengths.
    pub(super) sparse: bool,
    /// Where entries begin: those that somebody may ask for next.
    hints: Mutex<BTreeMap<Position, EntryId>>,
    /// The same by the lengths of entries, unproved.
    pub(super) spans: Mutex<Spans>,
    last_read: AtomicU64,
}

impl Readers {
    pub fn new(cluster: Cluster) -> Readers {
        Readers { cluster, open: Mutex::default(), reads: AtomicU64::new(0) }
    }

    /// Opens a link that this owner just made, without asking the metadata store: while that is away, the log's own
    /// ledgers can still be read.
    pub fn made(&self, base: Position, ledger: &Stored) -> Result<(), Error> {
        self.keep(base, false, LedgerReader::of(&self.cluster, ledger, ReadPatience::default())?);
        Ok(())
    }

    /// A link that this owner has closed.
    pub fn closed(&self, ledger: LedgerId, end: End) {
        if let Some(link) = self.open.lock().get(&ledger) {
            link.reader.closed_at(end);
        }
    }

    pub async fn read(&self, log: &ChainLog, from: Position, max_bytes: usize) -> Result<Vec<Entry>, Error> {
        loop {
            let (acknowledged, links) = readable(log);
            let first = links.first().map_or(Position::START, |stored| stored.link.base);
            if from < first {
                return Err(Error::Trimmed { asked: from, first });
            }
            if from > acknowledged {
                return Err(Error::NotYet(format!("position {from}")));
            }
            let stored = match link_of(&links, from) {
                Some(stored) if from < acknowledged => stored.clone(),
                _ => return Ok(Vec::new()),
            };
            let end = stored.link.end.unwrap_or(acknowledged);
            match self.read_link(log, &stored, from..end, max_bytes).await {
                // Given up or replaced meanwhile: what is there now is known.
                Err(Error::NoSuchLedger(_) | Error::DataLoss { .. }) if is_gone(log, &stored) => {}
                read => return read,
            }
        }
    }

    async fn read_link(
        &self,
        log: &ChainLog,
        stored: &StoredLink,
        range: Range<Position>,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, Error> {
        self.open(stored).await?.read(log, range, max_bytes).await
    }

    /// A ledger that is no link any more.
    pub fn forget(&self, ledger: LedgerId) {
        self.open.lock().remove(&ledger);
    }

    /// Bytes of one entry, unverified; `None` where they cannot be read without the rest of it.
    pub async fn read_part(&self, log: &ChainLog, from: Position, len: usize) -> Option<Bytes> {
        let (acknowledged, links) = readable(log);
        let stored = link_of(&links, from).filter(|_| from < acknowledged)?;
        let link = self.open(stored).await.ok()?;
        link.part(log, from, len, stored.link.end.unwrap_or(acknowledged)).await
    }

    /// What was read by parts there was not what it should be.
    pub fn doubt(&self, log: &ChainLog, at: Position) {
        let (_, links) = readable(log);
        let ledger = link_of(&links, at).map(|stored| stored.link.ledger);
        if let Some(link) = ledger.and_then(|ledger| self.open.lock().get(&ledger).cloned()) {
            link.spans.lock().clear();
        }
    }

    async fn open(&self, stored: &StoredLink) -> Result<Arc<OpenLink>, Error> {
        let id = stored.link.ledger;
        let known = self.open.lock().get(&id).cloned();
        let link = match known {
            Some(link) => link,
            None => {
                let reader = LedgerReader::open(&self.cluster, id).await?;
                self.keep(stored.link.base, stored.link.sparse.is_some(), reader)
            }
        };
        link.last_read.store(self.reads.fetch_add(1, Relaxed), Relaxed);
        Ok(link)
    }

    /// Keeps a link open, in place of the one that was not read for longest.
    fn keep(&self, base: Position, sparse: bool, reader: LedgerReader) -> Arc<OpenLink> {
        let last_read = AtomicU64::new(self.reads.load(Relaxed));
        let id = reader.ledger();
        let (hints, spans) = (Mutex::default(), Mutex::default());
        let link = Arc::new(OpenLink { reader, base, sparse, hints, spans, last_read });
        let mut open = self.open.lock();
        if open.len() >= OPEN {
            let oldest = open.iter().min_by_key(|(_, link)| link.last_read.load(Relaxed));
            let oldest = oldest.map(|(id, _)| *id);
            oldest.map(|id| open.remove(&id));
        }
        open.insert(id, link.clone());
        link
    }
}

/// What is acknowledged, and the links in which it lies: in this order, for links come before what is in them.
fn readable(log: &ChainLog) -> (Position, Vec<StoredLink>) {
    let acknowledged = log.progress.borrow().acknowledged;
    (acknowledged, log.links.lock().clone())
}

fn link_of(links: &[StoredLink], position: Position) -> Option<&StoredLink> {
    let after = links.partition_point(|stored| stored.link.base <= position);
    after.checked_sub(1).and_then(|at| links.get(at))
}

fn is_gone(log: &ChainLog, stored: &StoredLink) -> bool {
    log.links.lock().iter().all(|other| other.link.ledger != stored.link.ledger)
}

impl OpenLink {
    /// Entries from the one that contains the range's beginning on; it ends where the link does for this read.
    async fn read(
        &self,
        log: &ChainLog,
        range: Range<Position>,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, Error> {
        let last = self.last_entry(log).await?;
        let first = self.find(range.start, last, range.end).await?;
        if self.sparse {
            return self.read_left((first, last), range, max_bytes).await;
        }
        let read = self.reader.read(first, last, max_bytes).await?;
        let mut entries = Vec::with_capacity(read.len());
        for found in read {
            let entry = self.decode(&found)?;
            if entry.position >= range.end {
                break;
            }
            entries.push(entry);
        }
        if let Some(last) = entries.last() {
            self.hint(last.end(), EntryId(first.0 + entries.len() as i64));
        }
        Ok(entries)
    }

    /// As [`OpenLink::read`], of what is left between two entries.
    async fn read_left(
        &self,
        (mut first, last): (EntryId, EntryId),
        Range { start: from, end }: Range<Position>,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, Error> {
        while first <= last {
            let read = self.reader.read(first, last, max_bytes).await?;
            let (mut entries, mut bytes) = (Vec::new(), 0);
            for found in &read {
                let entry = self.decode(found)?;
                if entry.end() <= from {
                    continue;
                }
                if entries.is_empty() && entry.position > from {
                    return Err(Error::Trimmed { asked: from, first: entry.position });
                }
                // They are larger than what was read.
                bytes += entry.body.len();
                if bytes > max_bytes && !entries.is_empty() {
                    break;
                }
                self.hint(entry.end(), found.entry.next());
                entries.push(entry);
            }
            if !entries.is_empty() {
                return Ok(entries);
            }
            first = EntryId(first.0 + read.len() as i64);
        }
        Err(Error::Trimmed { asked: from, first: end })
    }

    /// The last entry that may be read.
    pub(super) async fn last_entry(&self, log: &ChainLog) -> Result<EntryId, Error> {
        if let Some(closed) = self.reader.closed() {
            return Ok(closed.last);
        }
        let (ledger, acknowledged) = log.driver.look(|core| core.tip_end());
        if ledger == self.reader.ledger() {
            self.reader.confirm(acknowledged.last);
        } else {
            // It was the last link a moment ago, and is closed now.
            self.reader.refresh().await?;
        }
        Ok(self.reader.confirmed())
    }

    /// The entry that contains `position`; of a sparse link one such that all before it end at or before it.
    async fn find(&self, position: Position, last: EntryId, end: Position) -> Result<EntryId, Error> {
        let (mut low, mut high) = ((EntryId::FIRST, self.base), (last.next(), end));
        {
            let hints = self.hints.lock();
            if let Some((&at, &entry)) = hints.range(..=position).next_back() {
                low = (entry, at).max(low);
            }
            if let Some((&at, &entry)) = hints.range(Position(position.0 + 1)..).next() {
                high = (entry, at).min(high);
            }
        }
        let mut halve = false;
        while high.0.0 - low.0.0 > 1 && position > low.1 {
            let entries = (high.0.0 - low.0.0) as u128;
            let bytes = u128::from(high.1.0.saturating_sub(low.1.0)).max(1);
            let step = match halve {
                true => entries / 2,
                false => u128::from(position.0 - low.1.0) * entries / bytes,
            };
            halve = !halve;
            let guess = EntryId(low.0.0 + (step as i64).clamp(0, entries as i64 - 1));
            let read = self.reader.read(guess, guess, 1).await?;
            let Some(found) = read.first() else { break };
            let entry = self.decode(found)?;
            self.hint(entry.position, guess);
            if entry.position <= position && position < entry.end() {
                return Ok(guess);
            }
            match entry.position > position {
                true => high = (guess, entry.position),
                false => low = (guess.next(), entry.end()),
            }
        }
        Ok(low.0)
    }

    fn hint(&self, position: Position, entry: EntryId) {
        let mut hints = self.hints.lock();
        if hints.len() >= HINTS {
            hints.pop_first();
        }
        hints.insert(position, entry);
    }

    /// The caller's bytes, at the position that both the entry's head and the ledger's length say.
    fn decode(&self, found: &LedgerEntry) -> Result<Entry, Error> {
        let what = || format!("entry {} of ledger {}", found.entry, self.reader.ledger());
        let (_, entry) = Head::decode(&found.payload, what)?;
        if self.sparse {
            return Ok(entry);
        }
        let end = end_position(self.base, End { last: found.entry, length: found.length });
        if entry.end() != end {
            let why = format!("{} ends at {}, where the log has {end}", what(), entry.end());
            return Err(Error::Corrupt(why));
        }
        Ok(entry)
    }
}
