//! An entry while it is being filled.

use bytes::{Bytes, BytesMut};
use protocol::message::Stored;

use super::format::{self, CRC_LEN, NewRow, PREAMBLE_LEN, Preamble};

/// The open entry: records are encoded behind room for the preamble, and never move again.
pub struct Batch {
    buffer: BytesMut,
    table: Vec<u8>,
    base: u64,
    store_time: i64,
    rows: u32,
}

impl Batch {
    /// What an entry has beside its records and their rows.
    pub const ROOM: usize = PREAMBLE_LEN + CRC_LEN;

    /// An entry that will begin at `base`, in a buffer that may have been used before.
    pub fn new(base: u64, mut buffer: BytesMut, mut table: Vec<u8>) -> Batch {
        buffer.clear();
        buffer.resize(PREAMBLE_LEN, 0);
        table.clear();
        Batch { buffer, table, base, store_time: 0, rows: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub fn base(&self) -> u64 {
        self.base
    }

    /// Where the next record will begin in the log.
    pub fn position(&self) -> u64 {
        self.base + self.buffer.len() as u64
    }

    /// The bytes that the entry has now.
    pub fn len(&self) -> usize {
        self.buffer.len() + self.table.len() + CRC_LEN
    }

    /// Adds a message, whose physical offset is [`Batch::position`]; returns its length and its CRC-32C.
    pub fn message(&mut self, message: &Stored<'_>, topic: u32, tag: i64, keys: &[u64]) -> (u32, u32) {
        let at = self.buffer.len();
        message.encode(&mut self.buffer);
        let later = self.later(message.store_time);
        let queue_offset = message.queue_offset as u64;
        let row = NewRow { topic, queue: message.queue as u16, queue_offset, later, tag, keys };
        let crc = format::put_message(&mut self.table, &self.buffer[at..], &row);
        ((self.buffer.len() - at) as u32, crc)
    }

    pub fn change(&mut self, change: &[u8], critical: bool, store_time: i64) {
        let later = self.later(store_time);
        self.buffer.extend_from_slice(change);
        format::put_change(&mut self.table, change, critical, later);
    }

    pub fn mark(&mut self, store_time: i64) {
        self.later(store_time);
        format::put_mark(&mut self.table);
    }

    /// Counts a row; the first one sets the entry's time.
    fn later(&mut self, store_time: i64) -> u64 {
        if self.rows == 0 {
            self.store_time = store_time;
        }
        self.rows += 1;
        store_time.saturating_sub(self.store_time).max(0) as u64
    }

    /// The finished entry, in one piece, and its buffers, if they can be filled again.
    pub fn close(mut self, vb: u32, epoch: u64) -> Closed {
        let preamble = Preamble {
            vb,
            epoch,
            base: self.base,
            store_time: self.store_time,
            rows: self.rows,
            records_len: (self.buffer.len() - PREAMBLE_LEN) as u32,
            table_len: self.table.len() as u32,
        };
        self.buffer[..PREAMBLE_LEN].copy_from_slice(&preamble.encode());
        self.buffer.extend_from_slice(&self.table);
        self.buffer.extend_from_slice(&crc32c::crc32c(&self.table).to_be_bytes());
        // A few bytes do not keep a large buffer from its next use, nor in memory.
        match self.buffer.len() < self.buffer.capacity() / 4 * 3 {
            true => {
                let body = Bytes::copy_from_slice(&self.buffer);
                Closed { body, buffer: self.buffer, table: self.table }
            }
            false => Closed { body: self.buffer.freeze(), buffer: BytesMut::new(), table: self.table },
        }
    }
}

/// An entry that takes no more records.
pub struct Closed {
    pub body: Bytes,
    pub buffer: BytesMut,
    pub table: Vec<u8>,
}
