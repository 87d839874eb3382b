//! Reading messages and rows, wherever they are: in the newest entries, in memory that was read before, or below.

use bytes::Bytes;

use super::Vb;
use crate::entry::format::MessageRow;
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

/// Keys in memory that are returned at most.
const MOST_KEYS: usize = 1024;

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
        // A checkpoint or a trim may pass between two looks; not again and again.
        for _ in 0..4 {
            match self.core().rows(topic, queue, from, max_rows, max_bytes) {
                Rows::Cold => {}
                rows => return Ok(rows),
            }
            let rows = self.cold().rows(topic, queue, from, max_rows, max_bytes).await?;
            if !rows.is_empty() {
                return Ok(Rows::Found(rows));
            }
        }
        let why = format!("no run has offset {from} of queue {queue} of topic {}", topic.0);
        Err(Error::Corrupt(why))
    }

    /// The bytes of consecutive messages of a queue, without a copy; neighbours in the log come in one piece.
    pub async fn read_rows(&self, rows: &[Row]) -> Result<Vec<Bytes>, Error> {
        let mut slices = Slices::default();
        let cold: Vec<Row> = {
            let core = self.core();
            rows.iter().filter(|row| core.entry(row.position).is_none()).copied().collect()
        };
        let (mut alone, onward) = self.fetch().parts(&cold).await;
        for row in rows {
            if let Some(message) = alone.remove(&row.position) {
                slices.whole(message);
                continue;
            }
            if slices.extend(row.position, row.len) {
                continue;
            }
            let held = self.core().entry(row.position);
            let (base, body) = match held {
                Some(entry) => entry,
                None => self.fetch().entry(row.position, onward).await?,
            };
            slices.begin(base, body, row.position, row.len)?;
        }
        if let Some(last) = cold.last().filter(|_| onward) {
            self.fetch().read_on(last.position);
        }
        Ok(slices.finish())
    }

    /// `len` bytes from an acknowledged position on.
    pub async fn read(&self, position: u64, len: u32) -> Result<Bytes, Error> {
        let row = Row { offset: 0, position, len, tag: 0, store_time: 0, crc: 0 };
        let read = self.read_rows(&[row]).await?;
        read.into_iter()
            .next()
            .ok_or_else(|| Error::Corrupt(format!("nothing was read at position {position}")))
    }

    /// The message that begins at a position; `None` if none does, or if it is not kept any more.
    pub async fn message_at(&self, position: u64) -> Result<Option<Bytes>, Error> {
        let held = {
            let core = self.core();
            if position >= core.acknowledged() {
                return Ok(None);
            }
            core.entry(position)
        };
        let (base, body) = match held {
            Some(entry) => entry,
            None => match self.fetch().entry(position, false).await {
                Err(Error::Log(ledger::Error::Trimmed { .. })) => return Ok(None),
                entry => entry?,
            },
        };
        let contents = Contents::decode(base, &body)?;
        let Some(row) = contents.rows.iter().find(|row| row.position == position) else { return Ok(None) };
        match &row.what {
            What::Message(message) => match contents.record(row) {
                // Of a sparse link's entry only what is kept is left.
                Err(_) if !self.keeps(message) => Ok(None),
                record => Ok(Some(record?)),
            },
            _ => Ok(None),
        }
    }

    /// Whether a message is still in its queue.
    fn keeps(&self, message: &MessageRow) -> bool {
        let core = self.core();
        let queue = core.index().queue(TopicId(message.topic), message.queue);
        queue.is_some_and(|queue| queue.min() <= message.queue_offset)
    }

    /// The offset of a queue at a time: its end if nothing is as young, its beginning if nothing is as old.
    pub async fn offset_at(&self, topic: TopicId, queue: u16, time: i64, bound: Bound) -> Result<u64, Error> {
        match bound {
            Bound::Lower => self.first_since(topic, queue, time).await,
            Bound::Upper => {
                let behind = self.first_since(topic, queue, time.saturating_add(1)).await?;
                let min = self.core().min_offset(topic, queue);
                Ok(behind.saturating_sub(1).max(min))
            }
        }
    }

    async fn first_since(&self, topic: TopicId, queue: u16, time: i64) -> Result<u64, Error> {
        let (min, end, hot) = {
            let core = self.core();
            let Some(of_queue) = core.index().queue(topic, queue) else { return Ok(0) };
            let hot = of_queue.hot_since(time).map(|row| row.offset);
            let all_hot = of_queue.hot_from() <= of_queue.min();
            let older_hot = of_queue.hot_is_older(time);
            if all_hot || older_hot {
                return Ok(hot.unwrap_or(of_queue.max()));
            }
            (of_queue.min(), of_queue.max(), hot)
        };
        let cold = self.cold().first_row(topic, queue, time, |_| true).await?;
        Ok(cold.map(|row| row.offset).or(hot).unwrap_or(end).max(min))
    }

    /// Positions of messages that have a key of this hash and were stored within this span of time, the newest
    /// first.
    pub async fn by_key(&self, hash: u64, from: i64, to: i64, max: usize) -> Result<Vec<u64>, Error> {
        let (pieces, acknowledged) = {
            let core = self.core();
            (core.index().keys.pieces(), core.acknowledged())
        };
        let hot = pieces.iter().rev().flat_map(|piece| piece.iter().rev());
        let fits = |time: i64| (from..=to).contains(&time);
        let mut found: Vec<u64> = hot
            .filter(|row| row.hash == hash && row.position < acknowledged && fits(row.store_time))
            .map(|row| row.position)
            .take(max.min(MOST_KEYS))
            .collect();
        if found.len() < max {
            let cold = self.cold().keys(hash, from, to, max).await?;
            found.extend(cold.into_iter().map(|row| row.position));
            // A checkpoint may have been taken between the two looks.
            found.sort_unstable_by(|a, b| b.cmp(a));
            found.dedup();
            found.truncate(max);
        }
        Ok(found)
    }
}

/// Slices of entries; neighbours are joined.
#[derive(Default)]
struct Slices {
    done: Vec<Bytes>,
    /// The entry of the last slice, and where that begins and ends in the log.
    open: Option<(u64, Bytes, u64, u64)>,
}

impl Slices {
    /// Adds bytes that are in the entry of the last slice; `false` if they are not.
    fn extend(&mut self, position: u64, len: u32) -> bool {
        let Some((base, body, from, to)) = &mut self.open else { return false };
        let end = position.saturating_add(u64::from(len));
        if position < *base || end > *base + body.len() as u64 {
            return false;
        }
        if position != *to {
            let slice = body.slice((*from - *base) as usize..(*to - *base) as usize);
            self.done.push(slice);
            *from = position;
        }
        *to = end;
        true
    }

    /// Adds a message that came by itself.
    fn whole(&mut self, message: Bytes) {
        self.close();
        self.done.push(message);
    }

    fn begin(&mut self, base: u64, body: Bytes, position: u64, len: u32) -> Result<(), Error> {
        self.close();
        self.open = Some((base, body, position, position));
        match self.extend(position, len) {
            true => Ok(()),
            false => {
                let why = format!("the entry at {base} ends before {len} bytes from {position} on do");
                Err(Error::Corrupt(why))
            }
        }
    }

    fn close(&mut self) {
        if let Some((base, body, from, to)) = self.open.take()
            && from < to
        {
            self.done.push(body.slice((from - base) as usize..(to - base) as usize));
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.close();
        self.done
    }
}
