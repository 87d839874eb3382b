//! Room: in the open group, in the segment, on the disk.

use super::*;
use crate::segment::files::is_no_room;
use crate::segment::format::{GROUP_HEADER, Kind, RECORD_HEADER, SEGMENT_HEADER, padded};
use crate::segment::record::encode_shelf;

/// Who may use how much of the last segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Normal,
    /// Recovery adds, and others of high priority.
    Recovery,
    /// Fences, tombstones, marks.
    State,
}

pub(super) enum Fit {
    Here,
    /// Commit first.
    Full,
    NoRoom,
    /// It fits no segment.
    TooLarge,
}

impl<D: Duty> Shelf<D> {
    /// Finds room for records of `bytes` (bodies and headers); begins the next segment if need be.
    pub(super) fn fit(&mut self, bytes: u32, class: Class) -> Result<Fit, Error> {
        if u64::from(bytes) > self.largest() {
            return Ok(Fit::TooLarge);
        }
        if self.group.has_records() && self.group.length_with(bytes) > self.config.group_bytes {
            return Ok(Fit::Full);
        }
        if self.fits(bytes, class) {
            return Ok(Fit::Here);
        }
        if self.group.has_records() {
            return Ok(Fit::Full);
        }
        if self.ahead.is_none() || !self.roll()? {
            self.short_of_room |= class == Class::Normal;
            return Ok(Fit::NoRoom);
        }
        Ok(if self.fits(bytes, class) { Fit::Here } else { Fit::NoRoom })
    }

    /// The largest record for which an empty segment has room, whatever else must be in it.
    fn largest(&self) -> u64 {
        let taken = SEGMENT_HEADER + GROUP_HEADER + 2 * RECORD_HEADER + 512 + 8 * self.usage.len();
        u64::from(self.config.segment_bytes)
            .saturating_sub(taken as u64 + u64::from(self.config.reserve_bytes))
    }

    fn fits(&self, bytes: u32, class: Class) -> bool {
        let reserve = match (class, &self.ahead) {
            (_, Some(_)) | (Class::State, None) => 0,
            (Class::Recovery, None) => self.config.reserve_bytes / 4,
            (Class::Normal, None) => self.config.reserve_bytes,
        };
        self.fits_here(bytes.saturating_add(reserve))
    }

    pub(super) fn fits_here(&self, bytes: u32) -> bool {
        let left = self.current.size.saturating_sub(self.log.next.offset);
        self.group.length_with(bytes) <= left
    }

    /// Goes on in the segment that was prepared, and prepares another. The group must be empty.
    fn roll(&mut self) -> Result<bool, Error> {
        let Some(next) = self.ahead.take() else { return Ok(false) };
        // What the old file holds unsynced could not be synced through the new one.
        self.sync()?;
        self.log.next = Position::new(next.id, SEGMENT_HEADER as u32);
        self.usage.insert(next.id, Usage::default());
        self.used.insert(next.id);
        self.current = next;
        self.push_shelf();
        self.prepare()?;
        Ok(true)
    }

    /// Puts the shelf's state and the list of segments into the open group.
    pub(super) fn push_shelf(&mut self) {
        let body = encode_shelf(&self.shelf_state, self.usage.keys().copied());
        self.group.push_bytes(&self.current, Kind::Shelf, body);
        self.group.events.push(Event::Shelf(self.shelf_state));
        self.group.sync = true;
    }

    /// What [`Self::push_shelf`] takes.
    pub(super) fn shelf_bytes(&self) -> u32 {
        (RECORD_HEADER + 8 + 8 * self.usage.len()) as u32
    }

    /// Allocates the next segment. No room is not an error.
    pub(super) fn prepare(&mut self) -> Result<(), Error> {
        if self.ahead.is_some() {
            return Ok(());
        }
        let size = self.config.segment_bytes;
        let spare = self.take_spare()?;
        if spare.is_none() {
            let space = self.shared.segments.disk().space().map_err(Error::disk("asking for free space"))?;
            if space.free < u64::from(padded(size)) + self.config.index_reserve {
                return Ok(());
            }
        }
        let id = SegmentId(self.next_segment);
        let salt = salt(self.nonce, id);
        match self.shared.segments.make(id, salt, size, spare.as_ref()) {
            Ok(made) => {
                self.next_segment += 1;
                self.ahead = Some(made);
                self.short_of_room = false;
                Ok(())
            }
            Err(error) if is_no_room(&error) => Ok(()),
            Err(error) => Err(Error::disk("making a segment")(error)),
        }
    }

    /// A dead segment of the right size.
    fn take_spare(&mut self) -> Result<Option<Spare>, Error> {
        while let Some(spare) = self.spares.pop() {
            if spare.size == u64::from(self.config.segment_bytes) {
                return Ok(Some(spare));
            }
            self.shared.segments.remove_spare(&spare).map_err(Error::disk("removing a dead segment"))?;
        }
        Ok(None)
    }

    /// Whether normal adds are taken.
    pub fn room(&self) -> Room {
        match &self.ahead {
            Some(_) => Room::Plenty,
            None if self.short_of_room || !self.fits(0, Class::Normal) => Room::ReadOnly,
            None => Room::Last,
        }
    }

    /// Tries again to allocate the next segment, where there was no room: call it now and then while read-only.
    pub fn look_for_room(&mut self) -> Result<Room, Error> {
        self.running()?;
        self.prepare().inspect_err(|error| self.stop(error))?;
        Ok(self.room())
    }
}

/// Different for every segment that any start makes.
pub(super) fn salt(nonce: u64, id: SegmentId) -> u64 {
    let mut bits = nonce ^ (u64::from(id.0) << 32 | u64::from(id.0)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
