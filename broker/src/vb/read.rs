//! Reading messages and rows, in memory or from the log.

use bytes::Bytes;
use ledger::log::Position;

use super::Vb;
use crate::entry::{Contents, What};
use crate::error::Error;
use crate::index::{Row, Rows};
use crate::state::TopicId;

/// Which message of those around a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The first that is not older.
    Lower,
    /// The last that is not newer.
    Upper,
}

impl Vb {
    /// As [`super::Core::rows`], also for rows that have left memory.
    pub async fn rows(
        &self,
        topic: TopicId,
        queue: u16,
        from: u64,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Rows, Error> {
        Ok(self.core().rows(topic, queue, from, max_rows, max_bytes))
    }

    /// The bytes of consecutive messages of a queue.
    pub async fn read_rows(&self, rows: &[Row]) -> Result<Vec<Bytes>, Error> {
        let mut messages = Vec::with_capacity(rows.len());
        let mut last: Option<(u64, Bytes)> = None;
        for row in rows {
            let cut = |(base, body): &(u64, Bytes)| {
                let begin = row.position.checked_sub(*base)? as usize;
                let end = begin + row.len as usize;
                (end <= body.len()).then(|| body.slice(begin..end))
            };
            let message = match last.as_ref().and_then(cut) {
                Some(message) => message,
                None => {
                    let entry = self.entry(row.position).await?;
                    let message = cut(&entry);
                    last = Some(entry);
                    let missing =
                        || Error::Corrupt(format!("no message of {} bytes is at {}", row.len, row.position));
                    message.ok_or_else(missing)?
                }
            };
            messages.push(message);
        }
        Ok(messages)
    }

    /// The message that begins at a position; `None` if none does, or if it is not kept any more.
    pub async fn message_at(&self, position: u64) -> Result<Option<Bytes>, Error> {
        if position >= self.core().acknowledged() {
            return Ok(None);
        }
        let (base, body) = match self.entry(position).await {
            Err(Error::Log(ledger::Error::Trimmed { .. })) => return Ok(None),
            entry => entry?,
        };
        let contents = Contents::decode(base, &body)?;
        let row = contents.rows.iter().find(|row| row.position == position);
        match row {
            Some(row) if matches!(row.what, What::Message(_)) => Ok(Some(contents.record(row)?)),
            _ => Ok(None),
        }
    }

    async fn entry(&self, position: u64) -> Result<(u64, Bytes), Error> {
        let held = self.core().entry(position);
        if let Some(entry) = held {
            return Ok(entry);
        }
        let entries = self.log.read(Position(position), 1).await?;
        let entry = entries.into_iter().next();
        entry
            .map(|entry| (entry.position.0, entry.body))
            .ok_or_else(|| Error::Corrupt(format!("nothing was read at position {position}")))
    }

    /// The offset of a queue at a time: its end if nothing is as young, its beginning if nothing is as old.
    pub async fn offset_at(&self, topic: TopicId, queue: u16, time: i64, bound: Bound) -> Result<u64, Error> {
        let core = self.core();
        let Some(of_queue) = core.index().queue(topic, queue) else { return Ok(0) };
        let first =
            |time| of_queue.hot_since(time).map_or(of_queue.max(), |row| row.offset).min(of_queue.max());
        Ok(match bound {
            Bound::Lower => first(time),
            Bound::Upper => first(time.saturating_add(1)).saturating_sub(1).max(of_queue.min()),
        })
    }

    /// Positions of messages that have a key of this hash and were stored within this span of time, the newest first.
    pub async fn by_key(&self, hash: u64, from: i64, to: i64, max: usize) -> Result<Vec<u64>, Error> {
        let (pieces, acknowledged) = {
            let core = self.core();
            (core.index().keys.pieces(), core.acknowledged())
        };
        let rows = pieces.iter().rev().flat_map(|piece| piece.iter().rev());
        let fits = |time: i64| (from..=to).contains(&time);
        let found =
            rows.filter(|row| row.hash == hash && row.position < acknowledged && fits(row.store_time));
        Ok(found.map(|row| row.position).take(max).collect())
    }

    /// Waits until everything is acknowledged and closes the log, so that the next owner has nothing to recover.
    pub async fn close(&self) -> Result<(), Error> {
        self.log.seal().await?;
        Ok(())
    }
}
