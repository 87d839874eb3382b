//! After the replay: files that count and those that do not, what must be written again, where to go on.

use super::*;

impl<D: Duty> Start<D> {
    /// Removes files that were dropped, finds those that are missing.
    pub(super) fn reconcile_files(&mut self) -> Result<(), Error> {
        let shelf = &mut self.shelf;
        for id in self.files.iter().filter(|id| self.dropped.contains(id)) {
            shelf.shared.segments.remove(*id, false).map_err(Error::disk("removing a segment"))?;
        }
        let missing = shelf.usage.keys().filter(|id| self.files.binary_search(id).is_err()).copied();
        self.report.missing = missing.collect();
        // Segments are made one after the other: a gap at the new end is a segment that was in use.
        let end = self.shelf.log.next.segment;
        if let Some(beyond) = self.files.iter().find(|id| **id > end)
            && self.shelf.log.sequence > 0
            && beyond.0 > end.0 + 1
        {
            self.report.missing.push(SegmentId(end.0 + 1));
        }
        if !self.report.missing.is_empty() {
            self.lost = Some("a segment is missing");
        }
        Ok(())
    }

    /// Makes durable what was replayed. Above the last mark it may be in the page cache only, and even there be taken
    /// for written (a sync that failed cleans its pages): so it is written again, the same bytes to the same place.
    pub(super) fn make_durable(&mut self) -> Result<(), Error> {
        if planted::on(Bug::ReplayedTailNotSynced) {
            return Ok(());
        }
        let (acked, end) = (self.shelf.log.acked, self.shelf.log.next);
        let from = self.shelf.checkpoint.end.segment.min(acked.segment);
        let files = self.files.iter().filter(|id| (from..=end.segment).contains(*id));
        for id in files.copied().collect::<Vec<_>>() {
            let Ok(file) = self.shelf.shared.segments.open(id) else { continue };
            let first = if id == acked.segment { acked.offset } else { SEGMENT_HEADER as u32 };
            let last = if id == end.segment { end.offset } else { file.size };
            if id >= acked.segment {
                walk::write_again(&file, first, last)
                    .map_err(Error::disk("writing a segment's tail again"))?;
            }
            file.file.sync().map_err(Error::disk("syncing a segment"))?;
        }
        self.shelf.log.acked = end;
        Ok(())
    }

    /// The segment to go on in: the last with groups, or a new one.
    pub(super) fn open_end(&mut self) -> Result<(), Error> {
        let shelf = &mut self.shelf;
        let end = shelf.log.next;
        for id in self.files.iter().filter(|id| **id > end.segment) {
            // At most one, made ahead and not used (what a cut tail left in it does not count).
            match shelf.shared.segments.open(*id) {
                Ok(file) if shelf.ahead.is_none() && file.size == shelf.config.segment_bytes => {
                    shelf.ahead = Some(file)
                }
                _ => drop(
                    shelf.shared.segments.remove(*id, false).map_err(Error::disk("removing a segment"))?,
                ),
            }
        }
        // What was never used leaves no gap.
        shelf.next_segment = shelf.ahead.as_ref().map_or(end.segment.0, |ahead| ahead.id.0) + 1;
        let in_use = shelf.log.sequence > 0;
        match shelf.shared.segments.open(end.segment) {
            Ok(file) if in_use => {
                shelf.current = file;
                return Ok(());
            }
            _ => {}
        }
        if shelf.ahead.is_none() {
            let id = SegmentId(shelf.next_segment);
            let (size, salt) = (shelf.config.segment_bytes, salt(shelf.nonce, id));
            let made = shelf
                .shared
                .segments
                .make(id, salt, size, None)
                .map_err(Error::disk("making the first segment"))?;
            shelf.next_segment += 1;
            shelf.ahead = Some(made);
        }
        let Some(first) = shelf.ahead.take() else { return Ok(()) };
        shelf.log.next = Position::new(first.id, SEGMENT_HEADER as u32);
        shelf.log.acked = shelf.log.next;
        shelf.usage.insert(first.id, Usage::default());
        shelf.used.insert(first.id);
        shelf.current = first;
        Ok(())
    }
}
