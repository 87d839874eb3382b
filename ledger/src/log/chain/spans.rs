//! Where entries begin, as far as it was asked: bookies know how long entries are without reading them.

use protocol::EntryId;

use crate::log::{HEAD_LEN, Position};

/// Spans that are kept of a link; the one that was used longest ago goes.
const KEPT: usize = 16;

/// An entry, and where it begins and ends in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub entry: EntryId,
    pub begins: Position,
    pub ends: Position,
}

/// Consecutive entries.
struct Span {
    first: EntryId,
    begins: Position,
    /// Where each ends, from `begins` on.
    ends: Vec<u32>,
    used: u64,
}

#[derive(Default)]
pub struct Spans {
    spans: Vec<Span>,
    uses: u64,
}

/// An entry and where it begins.
pub type Anchor = (EntryId, Position);

impl Span {
    fn end(&self) -> Anchor {
        let bytes = self.ends.last().copied().unwrap_or(0);
        (EntryId(self.first.0 + self.ends.len() as i64), self.begins.after(bytes as usize))
    }

    fn find(&self, position: Position) -> Option<Place> {
        let within = u32::try_from(position.0.checked_sub(self.begins.0)?).ok()?;
        let at = self.ends.partition_point(|end| *end <= within);
        let ends = *self.ends.get(at)?;
        let begins = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        Some(Place {
            entry: EntryId(self.first.0 + at as i64),
            begins: self.begins.after(begins as usize),
            ends: self.begins.after(ends as usize),
        })
    }
}

impl Spans {
    /// The entry that contains a position.
    pub fn find(&mut self, position: Position) -> Option<Place> {
        self.uses += 1;
        let uses = self.uses;
        self.spans.iter_mut().find_map(|span| {
            let place = span.find(position)?;
            span.used = uses;
            Some(place)
        })
    }

    /// The nearest known beginnings of entries on both sides of a position that no span contains, within these.
    pub fn around(&self, position: Position, mut low: Anchor, mut high: Anchor) -> (Anchor, Anchor) {
        for span in &self.spans {
            for anchor in [(span.first, span.begins), span.end()] {
                match anchor.1 <= position {
                    true => low = low.max(anchor),
                    false => high = high.min(anchor),
                }
            }
        }
        (low, high)
    }

    /// Takes note of the lengths of payloads from an entry on; where they end.
    pub fn note(&mut self, (first, begins): Anchor, payloads: &[u32]) -> Anchor {
        let mut end = 0u32;
        let ends = payloads.iter().map_while(|payload| {
            end = end.checked_add(payload.checked_sub(HEAD_LEN as u32)?)?;
            Some(end)
        });
        let span = Span { first, begins, ends: ends.collect(), used: self.uses };
        let end = span.end();
        if !span.ends.is_empty() {
            self.spans.push(span);
        }
        if self.spans.len() > KEPT {
            let oldest = self.spans.iter().enumerate().min_by_key(|(_, span)| span.used).map(|(at, _)| at);
            oldest.map(|at| self.spans.remove(at));
        }
        end
    }

    /// They were wrong.
    pub fn clear(&mut self) {
        self.spans.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(entry: i64, begins: u64, ends: u64) -> Option<Place> {
        Some(Place { entry: EntryId(entry), begins: Position(begins), ends: Position(ends) })
    }

    #[test]
    fn positions_are_found_in_spans_and_between_them() {
        let mut spans = Spans::default();
        let head = HEAD_LEN as u32;
        assert_eq!(
            spans.note((EntryId(10), Position(1000)), &[head + 5, head + 7]),
            (EntryId(12), Position(1012))
        );
        assert_eq!(spans.find(Position(999)), None);
        assert_eq!(spans.find(Position(1000)), place(10, 1000, 1005));
        assert_eq!(spans.find(Position(1011)), place(11, 1005, 1012));
        assert_eq!(spans.find(Position(1012)), None);
        let (low, high) = ((EntryId(0), Position(0)), (EntryId(99), Position(9999)));
        assert_eq!(spans.around(Position(500), low, high), (low, (EntryId(10), Position(1000))));
        assert_eq!(spans.around(Position(2000), low, high), ((EntryId(12), Position(1012)), high));
    }

    #[test]
    fn the_span_that_was_not_used_for_longest_goes() {
        let mut spans = Spans::default();
        for first in 0..=KEPT as i64 {
            spans.note((EntryId(first), Position(first as u64)), &[HEAD_LEN as u32 + 1]);
            assert_eq!(spans.find(Position(0)), place(0, 0, 1));
        }
        assert_eq!(spans.find(Position(1)), None);
        assert_eq!(spans.find(Position(2)), place(2, 2, 3));
    }

    #[test]
    fn lengths_that_cannot_be_end_a_span() {
        let mut spans = Spans::default();
        let head = HEAD_LEN as u32;
        assert_eq!(
            spans.note((EntryId(0), Position(0)), &[head + 1, 3, head + 1]),
            (EntryId(1), Position(1))
        );
        assert_eq!(spans.note((EntryId(5), Position(9)), &[u32::MAX, u32::MAX]).0, EntryId(6));
    }
}
