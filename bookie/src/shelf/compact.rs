//! Emptying and dropping segments.

use protocol::EntryId;
use protocol::entry::Header;

use super::room::{Class, Fit};
use super::*;
use crate::index::rows;
use crate::segment::format::{Kind, RECORD_HEADER, SEGMENT_HEADER};
use crate::segment::walk::{self, Record};

impl<D: Duty> Shelf<D> {
    /// Stages copies of live entries of `segment`, from byte `from` (0: the first), about `max_bytes` of them; where
    /// to go on, or `None` when the end was reached. Commit after each call. Entries added meanwhile are not in the way.
    pub fn copy_live(&mut self, segment: SegmentId, from: u32, max_bytes: u64) -> Result<Option<u32>, Error> {
        self.running()?;
        if segment >= self.checkpoint.end.segment || !self.usage.contains_key(&segment) {
            return Err(Error::Segment(segment));
        }
        self.copy_from(segment, from, max_bytes).inspect_err(|error| {
            if matches!(error, Error::Disk { .. }) {
                self.stop(error);
            }
        })
    }

    fn copy_from(&mut self, segment: SegmentId, from: u32, max_bytes: u64) -> Result<Option<u32>, Error> {
        let reading = || Error::index("reading a segment to copy it");
        let file = self.shared.segments.open(segment).map_err(|e| reading()(e.into_io()))?;
        let mut at = from.max(SEGMENT_HEADER as u32);
        let mut scanned = 0;
        while scanned < max_bytes {
            // Damage may hide a group; those behind it are found all the same.
            let Some(group) = walk::find(&file, at, |_| true).map_err(reading())? else { return Ok(None) };
            let content = walk::content(&file, &group).map_err(reading())?;
            for record in content.records.iter().filter(|record| record.header.kind == Kind::Entry) {
                self.copy_entry(segment, record)?;
            }
            scanned += u64::from(group.header.length);
            at = walk::after(&group);
        }
        Ok(Some(at))
    }

    fn copy_entry(&mut self, segment: SegmentId, record: &Record) -> Result<(), Error> {
        let Some(header) = Header::of(&record.body) else { return Ok(()) };
        let (ledger, entry) = (header.ledger, header.entry);
        let Some(facts) = self.facts(ledger)?.filter(|facts| !facts.deleted) else { return Ok(()) };
        let old = self.shared.locate(ledger, entry).map_err(Error::index("looking up an entry"))?;
        let here = (segment.0, record.offset);
        let Some(old) = old.filter(|slot| (slot.segment, slot.offset) == here && !facts.restored()) else {
            return Ok(());
        };
        if !record.intact {
            self.shared.note_damage(ledger, entry, here);
            return Ok(());
        }
        let length = record.body.len() as u32;
        for _ in 0..2 {
            match self.fit(length + RECORD_HEADER as u32, Class::Recovery)? {
                Fit::Here => {
                    let body = record.body.clone().into();
                    let offset =
                        self.group.push(&self.current, Kind::Entry, body, Some(record.header.body_crc));
                    let slot = self.slot(entry, offset, length);
                    self.group.sync = true;
                    self.group.events.push(Event::Entry {
                        ledger,
                        slot,
                        lac: EntryId::NONE,
                        old: Some(old),
                        copy: true,
                    });
                    return Ok(());
                }
                Fit::Full => self.commit_inner()?,
                Fit::NoRoom | Fit::TooLarge => break,
            }
        }
        Err(Error::NoRoom)
    }

    /// Deletes a sealed segment in which nothing is live: writes its ledgers' states again, syncs, then removes or
    /// recycles the file. [`Error::Segment`] if something is live.
    pub fn drop_segment(&mut self, segment: SegmentId) -> Result<(), Error> {
        self.running()?;
        self.commit_inner().inspect_err(|error| self.stop(error))?;
        // Copies of what was live are in the log behind the checkpoint, or in the index: either way they are found.
        let dead = self.usage.get(&segment).is_some_and(|usage| usage.live == 0);
        if !dead || segment >= self.checkpoint.end.segment {
            return Err(Error::Segment(segment));
        }
        self.drop_dead(segment).inspect_err(|error| {
            if matches!(error, Error::Disk { .. }) {
                self.stop(error);
            }
        })
    }

    fn drop_dead(&mut self, segment: SegmentId) -> Result<(), Error> {
        self.rewrite_states(segment)?;
        let usage = self.usage.remove(&segment);
        self.used.remove(&segment);
        if let Err(error) = self.make_room(self.shelf_bytes()) {
            self.usage.extend(usage.map(|usage| (segment, usage)));
            return Err(error);
        }
        self.push_shelf();
        self.commit_inner()?;
        self.dropped.insert(segment);
        let keep = self.spares.len() < self.config.recycle;
        let spare = self.shared.segments.remove(segment, keep).map_err(Error::disk("removing a segment"))?;
        self.spares.extend(spare);
        Ok(())
    }

    /// Keys, fences, LACs and tombstones whose last record may be in this segment.
    fn rewrite_states(&mut self, segment: SegmentId) -> Result<(), Error> {
        let (from, to) = rows::homes_of(segment);
        let stored = self
            .shared
            .store
            .scan(&from, &to, usize::MAX)
            .map_err(Error::index("listing a segment's ledgers"))?;
        let mut ledgers: BTreeSet<LedgerId> =
            stored.iter().filter_map(|(key, _)| rows::home_ledger(key)).collect();
        ledgers.extend(self.homes.iter().filter(|(home, _)| *home == segment).map(|(_, ledger)| *ledger));
        if planted::on(Bug::StatesLostWithSegment) {
            ledgers.clear();
        }
        for ledger in ledgers {
            if self.facts(ledger)?.is_some() {
                self.make_room((RECORD_HEADER + 64 + crate::segment::record::MAX_LAC_PACKET) as u32)?;
                let state = self.state_of(ledger);
                self.push_state(ledger, state);
            }
        }
        Ok(())
    }
}
