//! What a queue has for a pull at this moment.

use super::Wanted;
use crate::serve::filter::Filter;
use crate::vb::{Core, Row, Rows};

/// Rows that are looked through for one request; then its client is told how far it came.
const MOST_LOOKED: u64 = 8_192;
const AT_ONCE: usize = 256;

pub(super) enum Look {
    /// Rows to hand out, and where the next pull begins.
    Found { rows: Vec<Row>, next: u64 },
    /// The queue has more, none of it wanted so far.
    NoneMatched { next: u64 },
    /// Nothing new.
    Nothing { next: u64 },
    /// The offset is not in the queue; the nearest is.
    Outside { next: u64 },
    /// What is next is not in memory.
    Cold,
}

pub(super) fn look(core: &Core, wanted: &Wanted) -> Look {
    match wanted.filter {
        Filter::All => {
            match core.rows(wanted.topic, wanted.queue, wanted.offset, wanted.messages, wanted.bytes) {
                Rows::Found(rows) => {
                    let next = rows.last().map_or(wanted.offset, |row| row.offset + 1);
                    Look::Found { rows, next }
                }
                rows => other(rows, wanted.offset, wanted.offset),
            }
        }
        Filter::Tags(_) => matching(core, wanted),
    }
}

/// What anything but rows means to a pull that began at `begun` and has come to `next`.
pub(super) fn other(rows: Rows, begun: u64, next: u64) -> Look {
    match rows {
        Rows::Found(rows) => Look::Found { rows, next },
        Rows::Cold => Look::Cold,
        Rows::End if next > begun => Look::NoneMatched { next },
        Rows::End => Look::Nothing { next },
        Rows::Outside { min, .. } if next < min => Look::Outside { next: min },
        Rows::Outside { max, .. } => Look::Outside { next: max },
    }
}

fn matching(core: &Core, wanted: &Wanted) -> Look {
    let mut chosen = Chosen::new(wanted);
    loop {
        match core.rows(wanted.topic, wanted.queue, chosen.next, AT_ONCE, usize::MAX) {
            Rows::Found(rows) => {
                if chosen.take(&rows) {
                    return chosen.end();
                }
            }
            // What is warm goes out first.
            _ if !chosen.rows.is_empty() => return chosen.end(),
            rows => return other(rows, wanted.offset, chosen.next),
        }
    }
}

/// Rows chosen by a filter, up to the limits of a pull.
pub(super) struct Chosen<'a> {
    wanted: &'a Wanted,
    pub rows: Vec<Row>,
    bytes: usize,
    pub next: u64,
}

impl<'a> Chosen<'a> {
    pub fn new(wanted: &'a Wanted) -> Chosen<'a> {
        Chosen { wanted, rows: Vec::new(), bytes: 0, next: wanted.offset }
    }

    /// Takes what it wants of these rows; says whether it has looked through enough.
    pub fn take(&mut self, rows: &[Row]) -> bool {
        for row in rows {
            let len = row.len as usize;
            if self.wanted.filter.takes(row.tag) {
                if !self.rows.is_empty() && self.bytes + len > self.wanted.bytes {
                    return true;
                }
                self.bytes += len;
                self.rows.push(*row);
            }
            self.next = row.offset + 1;
            if self.rows.len() >= self.wanted.messages || self.next - self.wanted.offset >= MOST_LOOKED {
                return true;
            }
        }
        rows.is_empty()
    }

    pub fn end(self) -> Look {
        match self.rows.is_empty() {
            true => Look::NoneMatched { next: self.next },
            false => Look::Found { rows: self.rows, next: self.next },
        }
    }
}

/// Whether a held pull has something to get. What it does not want it need not look at again.
pub(super) fn wakes(core: &Core, wanted: &mut Wanted) -> bool {
    if wanted.filter == Filter::All {
        return core.max_offset(wanted.topic, wanted.queue) > wanted.offset;
    }
    match look(core, wanted) {
        Look::Nothing { .. } => false,
        Look::NoneMatched { next } => {
            wanted.offset = next;
            false
        }
        _ => true,
    }
}
