//! Reading a few bytes of a link, where its bookies can: none but these and the heads of some entries are read.

use bytes::Bytes;
use protocol::EntryId;

use super::ChainLog;
use super::read::OpenLink;
use super::spans::{Anchor, Place};
use crate::log::format;
use crate::log::{HEAD_LEN, Position};

/// Lengths of entries that are asked for at once.
const LENGTHS: i64 = 4096;

impl OpenLink {
    /// Bytes of one entry, unverified; `end` is where the link ends for this read.
    pub async fn part(&self, log: &ChainLog, from: Position, len: usize, end: Position) -> Option<Bytes> {
        if self.sparse {
            return None;
        }
        let last = self.last_entry(log).await.ok()?;
        let known = self.spans.lock().find(from);
        let place = match known {
            Some(place) => place,
            None => self.locate(from, ((EntryId::FIRST, self.base), (last.next(), end))).await?,
        };
        if from.after(len) > place.ends || place.ends > end {
            return None;
        }
        let within = (from.0 - place.begins.0) as usize;
        self.reader.part(place.entry, HEAD_LEN + within, len).await
    }

    /// The entry that contains `position`, by the lengths of entries, which are asked for in pieces; what is far away is
    /// looked for by the heads of entries.
    async fn locate(&self, position: Position, whole: (Anchor, Anchor)) -> Option<Place> {
        let (mut low, mut high) = self.spans.lock().around(position, whole.0, whole.1);
        // An even half each time would take no more steps than this.
        for _ in 0..64 {
            let entries = high.0.0.checked_sub(low.0.0).filter(|entries| *entries > 0)?;
            let bytes = u128::from(high.1.0.saturating_sub(low.1.0)).max(1);
            let far = u128::from(position.0.checked_sub(low.1.0)?) * entries as u128 / bytes;
            let far = i64::try_from(far).ok()?.min(entries - 1);
            if far > LENGTHS / 2 && entries > LENGTHS {
                let guess = EntryId(low.0.0 + far);
                let begins = self.beginning(guess).await?;
                match begins <= position {
                    true => low = (guess, begins),
                    false => high = (guess, begins),
                }
                continue;
            }
            let lengths = self.reader.lengths(low.0, entries.min(LENGTHS) as u32).await?;
            let mut spans = self.spans.lock();
            let end = spans.note(low, &lengths);
            if let Some(place) = spans.find(position) {
                return Some(place);
            }
            if end <= low || end.1 > position {
                return None;
            }
            low = end;
        }
        None
    }

    /// Where an entry begins, as its head says.
    async fn beginning(&self, entry: EntryId) -> Option<Position> {
        // Only who can tell lengths reads a head alone.
        self.reader.lengths(entry, 1).await?;
        format::position_of(&self.reader.part(entry, 0, HEAD_LEN).await?)
    }
}
