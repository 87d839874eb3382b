//! The open group: records that are written and synced together, and what is done once they are.

use std::io::{self, IoSlice};

use bytes::Bytes;
use protocol::bookie::{Body, Outcome, Request};
use protocol::{EntryId, LedgerId};

use crate::index::rows::Slot;
use crate::segment::SegmentFile;
use crate::segment::format::{GROUP_HEADER, GroupHeader, Kind, RECORD_HEADER, RecordHeader, padded};
use crate::state::{LedgerState, ShelfState};

/// Bodies below this are copied behind their headers: a part of a vectored write costs more than that.
const COPY_BELOW: usize = 512;
const PADDING: [u8; 512] = [0; 512];

/// What becomes visible when the group is durable, in this order.
pub(super) enum Event {
    Entry {
        ledger: LedgerId,
        slot: Slot,
        lac: EntryId,
        /// Where the entry was before, if it was here.
        old: Option<Slot>,
        /// It is a copy of `old`, and of no interest if the entry has moved meanwhile.
        copy: bool,
    },
    Ledger(LedgerId, Box<LedgerState>),
    Shelf(ShelfState),
}

pub(super) struct Group<D> {
    /// The group's header, records' headers, and bodies that were copied.
    heads: Vec<u8>,
    /// Bodies that are written from where they are, each behind so many bytes of `heads`.
    bodies: Vec<(usize, Body)>,
    length: u32,
    records: u32,
    pub flags: u32,
    pub events: Vec<Event>,
    pub answers: Vec<(D, Outcome)>,
    pub reads: Vec<(Request, D)>,
    /// Someone waits for durability.
    pub sync: bool,
}

impl<D> Group<D> {
    pub fn new() -> Group<D> {
        Group {
            heads: vec![0; GROUP_HEADER],
            bodies: Vec::new(),
            length: GROUP_HEADER as u32,
            records: 0,
            flags: 0,
            events: Vec::new(),
            answers: Vec::new(),
            reads: Vec::new(),
            sync: false,
        }
    }

    /// Bytes on disk, if so many more are added.
    pub fn length_with(&self, more: u32) -> u32 {
        padded(self.length.saturating_add(more))
    }

    pub fn bytes(&self) -> u32 {
        self.length
    }

    pub fn has_records(&self) -> bool {
        self.records > 0
    }

    pub fn is_idle(&self) -> bool {
        self.records == 0 && self.flags == 0 && self.answers.is_empty() && self.reads.is_empty()
    }

    /// Adds a record; its place in the group.
    pub fn push(&mut self, file: &SegmentFile, kind: Kind, body: Body, body_crc: Option<u32>) -> u32 {
        let at = self.length;
        let length = body.len() as u32;
        let crc = body_crc.unwrap_or_else(|| {
            body.pieces().into_iter().fold(0, |crc, piece| crc32c::crc32c_append(crc, piece))
        });
        let header = RecordHeader { length, kind, segment: file.id, body_crc: crc };
        if body.head.len() >= 16 || body.payload.is_empty() {
            header.encode(file.salt, &body.head, &mut self.heads);
        } else {
            header.encode(file.salt, &body.joined(), &mut self.heads);
        }
        if body.len() < COPY_BELOW {
            body.pieces().into_iter().for_each(|piece| self.heads.extend_from_slice(piece));
        } else {
            self.bodies.push((self.heads.len(), body));
        }
        self.length += RECORD_HEADER as u32 + length;
        self.records += 1;
        at
    }

    pub fn push_bytes(&mut self, file: &SegmentFile, kind: Kind, body: Vec<u8>) -> u32 {
        self.push(file, kind, Bytes::from(body).into(), None)
    }

    /// Writes the group where `header` says; it fills in what only the group knows. The CRC of the header.
    pub fn write(&mut self, file: &SegmentFile, offset: u32, mut header: GroupHeader) -> io::Result<u32> {
        header.length = self.length;
        header.records = self.records;
        header.flags = self.flags;
        let (bytes, crc) = header.encode();
        self.heads[..GROUP_HEADER].copy_from_slice(&bytes);
        let mut parts = Vec::with_capacity(self.bodies.len() * 3 + 2);
        let mut heads = self.heads.as_slice();
        let mut taken = 0;
        for (end, body) in &self.bodies {
            let (before, rest) = heads.split_at(end - taken);
            (heads, taken) = (rest, *end);
            parts.push(IoSlice::new(before));
            parts.extend(
                body.pieces().into_iter().filter(|piece| !piece.is_empty()).map(|piece| IoSlice::new(piece)),
            );
        }
        parts.push(IoSlice::new(heads));
        let padding = padded(self.length) - self.length;
        parts.push(IoSlice::new(&PADDING[..padding as usize]));
        file.file.write_at(u64::from(offset), &parts)?;
        Ok(crc)
    }

    /// An empty group in the same memory.
    pub fn reset(mut self) -> Group<D> {
        self.heads.truncate(GROUP_HEADER);
        self.bodies.clear();
        self.events.clear();
        self.answers.clear();
        self.reads.clear();
        Group { length: GROUP_HEADER as u32, records: 0, flags: 0, sync: false, ..self }
    }
}
