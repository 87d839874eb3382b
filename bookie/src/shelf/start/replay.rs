//! From group to group: what counts, what is damaged, where the log ends.

use super::*;
use crate::segment::walk::Record;

/// How far behind the last sound group the next is looked for. Damage at the log's end that is longer, many groups long,
/// is taken for the end.
const SEARCH: u32 = 32 << 20;

impl<D: Duty> Start<D> {
    /// From group to group up to the log's end.
    pub(super) fn replay(&mut self) -> Result<Replayed, Error> {
        while let Some((file, found)) = self.next_group()? {
            let at = self.shelf.log.next;
            let here = Position::new(file.id, found.offset);
            let expected = found.header.sequence == self.shelf.log.sequence + 1
                && found.header.previous == self.shelf.log.crc;
            let dropped = file.id.0 > at.segment.0 + 1;
            // What a rebuild begins with may have any number, but stands where a segment's first group does.
            let goes_on = self.rebuild && if self.shelf.log.sequence == 0 { here == at } else { dropped };
            let content = walk::content(&file, &found).map_err(Error::disk("reading a segment"))?;
            let sound = content.complete && (content.intact() || self.acked_beyond(&file, &found, here)?);
            if sound && (expected || goes_on) {
                self.apply_group(&file, &found, &content.records)?;
                continue;
            }
            if dropped && !self.rebuild {
                return Ok(Replayed::TooOld);
            }
            let damaged_from = if expected { here } else { at };
            if !self.acked_beyond(&file, &found, damaged_from)? {
                self.report.torn = Some(at);
                break;
            }
            self.report.damaged.push((at, Position::new(file.id, walk::after(&found))));
            self.lost = Some("a group that had been acknowledged cannot be read");
            self.apply_group(&file, &found, &content.records)?;
        }
        Ok(Replayed::Whole)
    }

    /// The first group behind the last one that was replayed, wherever it is. The search ends where no log goes on for
    /// [`SEARCH`] bytes, in this file and the later ones.
    fn next_group(&mut self) -> Result<Option<(Arc<SegmentFile>, Found)>, Error> {
        let at = self.shelf.log.next;
        let later = self.files.partition_point(|id| *id < at.segment);
        let files = self.files.get(later..).unwrap_or(&[]).to_vec();
        for (i, id) in files.iter().enumerate() {
            let Some(file) = self.open_file(*id)? else { continue };
            let from = if *id == at.segment { at.offset } else { SEGMENT_HEADER as u32 };
            if let Some(found) = self.find(&file, from, from.saturating_add(SEARCH))? {
                // The log goes on in a later file: then every byte of the earlier ones is worth a look.
                for earlier in files.iter().take(i) {
                    let Some(file) = self.open_file(*earlier)? else { continue };
                    let from = if *earlier == at.segment { at.offset } else { SEGMENT_HEADER as u32 };
                    if let Some(found) = self.find(&file, from, file.size)? {
                        return Ok(Some((file, found)));
                    }
                }
                return Ok(Some((file, found)));
            }
        }
        Ok(None)
    }

    /// Groups of an earlier start, or with an earlier number, are leftovers of a tail that was cut.
    fn find(&self, file: &SegmentFile, from: u32, end: u32) -> Result<Option<Found>, Error> {
        let (boot, sequence) = (self.shelf.boot, self.shelf.log.sequence);
        let wanted = |header: &GroupHeader| header.boot >= boot && header.sequence > sequence;
        walk::find_before(file, from, end, wanted).map_err(Error::disk("reading a segment"))
    }

    /// `None`: its header is damaged.
    fn open_file(&mut self, id: SegmentId) -> Result<Option<Arc<SegmentFile>>, Error> {
        match self.shelf.shared.segments.open(id) {
            Ok(file) => Ok(Some(file)),
            Err(OpenError::Damaged) => {
                if self.lost.is_none() {
                    tracing::error!(segment = %id, "the header of a segment is damaged: its entries cannot be read");
                }
                self.lost = Some("the header of a segment is damaged");
                Ok(None)
            }
            Err(error) => Err(error.into_refusal(id)),
        }
    }

    /// Whether any group from `found` on says that what begins at `place` had been acknowledged.
    fn acked_beyond(&self, file: &SegmentFile, found: &Found, place: Position) -> Result<bool, Error> {
        if planted::on(Bug::DamageTakenForTail) {
            return Ok(false);
        }
        if found.header.acked > place {
            return Ok(true);
        }
        let boot = self.shelf.boot;
        let says = |header: &GroupHeader| header.acked > place && header.boot >= boot;
        let reading = Error::disk("reading a segment");
        if walk::find(file, found.offset, says).map_err(reading)?.is_some() {
            return Ok(true);
        }
        for id in self.files.iter().filter(|id| **id > file.id) {
            let Ok(later) = self.shelf.shared.segments.open(*id) else { continue };
            if walk::find(&later, SEGMENT_HEADER as u32, says)
                .map_err(Error::disk("reading a segment"))?
                .is_some()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn apply_group(
        &mut self,
        file: &Arc<SegmentFile>,
        found: &Found,
        records: &[Record],
    ) -> Result<(), Error> {
        let here = Position::new(file.id, found.offset);
        self.shelf.usage.entry(file.id).or_default();
        self.shelf.used.insert(file.id);
        for record in records {
            self.apply(file, record)?;
        }
        let shelf = &mut self.shelf;
        shelf.boot = shelf.boot.max(found.header.boot);
        shelf.unflushed.bytes += u64::from(found.header.length);
        self.last_flags = found.header.flags;
        self.report.scanned += u64::from(found.header.length);
        shelf.log = LogEnd {
            next: Position::new(file.id, walk::after(found)),
            acked: found.header.acked.max(shelf.log.acked),
            last: here,
            sequence: found.header.sequence,
            crc: found.crc,
        };
        // A rebuild of a large disk must not gather all of it in memory.
        if shelf.flush_due() {
            self.note_loss()?;
            self.make_durable()?;
            self.shelf.flush_now()?;
        }
        Ok(())
    }

    fn apply(&mut self, file: &SegmentFile, record: &Record) -> Result<(), Error> {
        let event = match record.header.kind {
            Kind::Entry => self.entry(file, record)?,
            _ if !record.intact => None,
            Kind::Ledger => decode_ledger(&record.body).map(|(ledger, state)| {
                self.shelf.homes.insert((file.id, ledger));
                Event::Ledger(ledger, Box::new(state))
            }),
            Kind::Shelf => decode_shelf(&record.body).map(|(state, ranges)| {
                self.apply_list(&ranges);
                self.shelf.shelf_state = self.shelf.shelf_state.max(state);
                Event::Shelf(self.shelf.shelf_state)
            }),
        };
        let Some(event) = event else {
            self.lost = Some("a record of a ledger's or the shelf's state is damaged");
            return Ok(());
        };
        if let Event::Ledger(ledger, _) | Event::Entry { ledger, .. } = &event {
            self.shelf.shared.load(*ledger).map_err(Error::index("reading a ledger's state"))?;
        }
        self.shelf.publish(&mut vec![event]);
        Ok(())
    }

    /// An entry whose body is damaged is indexed all the same: reads say that it cannot be read, not that it is not
    /// there.
    fn entry(&mut self, file: &SegmentFile, record: &Record) -> Result<Option<Event>, Error> {
        let Some(header) = Header::of(&record.body) else { return Ok(None) };
        let (ledger, entry) = (header.ledger, header.entry);
        if !record.intact {
            self.shelf.shared.note_damage(ledger, entry, (file.id.0, record.offset));
        }
        let facts = self.shelf.facts(ledger)?;
        if facts.is_none() {
            let state = LedgerState { fenced: true, limbo: true, ..LedgerState::default() };
            self.shelf.publish(&mut vec![Event::Ledger(ledger, Box::new(state))]);
        }
        let old = self.shelf.shared.locate(ledger, entry).map_err(Error::index("looking up an entry"))?;
        let slot =
            Slot { entry: entry.0, segment: file.id.0, offset: record.offset, length: record.header.length };
        let lac = if record.intact { header.lac } else { EntryId::NONE };
        Ok(Some(Event::Entry { ledger, slot, lac, old, copy: false }))
    }

    /// The segments that counted when a list was made; those that were begun later (it is in the first group of each)
    /// count too.
    fn apply_list(&mut self, ranges: &[(u32, u32)]) {
        let newest = ranges.last().map_or(0, |(_, last)| *last);
        let counts = |id: &SegmentId| {
            id.0 > newest || ranges.iter().any(|(first, last)| (*first..=*last).contains(&id.0))
        };
        let usage = &mut self.shelf.usage;
        self.dropped.extend(usage.keys().chain(&self.files).filter(|id| !counts(id)));
        usage.retain(|id, _| counts(id));
        self.shelf.dropped.extend(self.dropped.iter());
        for id in ranges.iter().flat_map(|(first, last)| *first..=*last).map(SegmentId) {
            usage.entry(id).or_default();
        }
    }
}
