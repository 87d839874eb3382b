//! The log, read again: the same changes in the same order make the same index and state.

use bytes::Bytes;
use ledger::log::{Log, Position};
use planted::Bug;

use crate::entry::format::MessageRow;
use crate::entry::{Contents, Row, What};
use crate::error::Error;
use crate::index::Index;
use crate::index::keys::KeyRow;
use crate::index::queue::HotRow;
use crate::state::{self, Change, State, TopicId};

/// Bytes read at once.
const READ: usize = 4 << 20;

/// What a log says up to `next`.
pub struct Replay {
    pub vb: u32,
    pub state: State,
    pub index: Index,
    pub last_time: i64,
    pub next: u64,
}

impl Replay {
    /// Reads on to the end of what is acknowledged.
    pub async fn read(&mut self, log: &dyn Log) -> Result<(), Error> {
        let mut end = log.progress().borrow().acknowledged;
        if planted::on(Bug::ReplayStopsShort) {
            end = Position(end.0.saturating_sub(1000));
        }
        while self.next < end.0 {
            let entries = log.read(Position(self.next), READ).await?;
            if entries.is_empty() {
                let why = format!("its log ends at {}, and has nothing at {}", end, self.next);
                return Err(Error::Corrupt(why));
            }
            for entry in entries {
                self.entry(entry.position.0, &entry.body)?;
            }
        }
        self.index.show_all();
        Ok(())
    }

    fn entry(&mut self, position: u64, body: &Bytes) -> Result<(), Error> {
        let contents = Contents::decode(position, body)?;
        if contents.preamble.vb != self.vb {
            let why = format!(
                "the entry at position {position} is of virtual broker {}, not of {}",
                contents.preamble.vb, self.vb
            );
            return Err(Error::Corrupt(why));
        }
        for row in &contents.rows {
            match &row.what {
                What::Message(message) => self.message(row, message)?,
                What::Change { store_time } => {
                    let bytes = contents.record(row)?;
                    let change = Change::decode(&bytes).map_err(|why| {
                        Error::Corrupt(format!("the change at position {}: {why}", row.position))
                    })?;
                    self.index.note(&change, &self.state);
                    if !planted::on(Bug::ChangesNotReplayed) {
                        self.state.apply(&change, *store_time);
                    }
                    self.last_time = self.last_time.max(*store_time);
                }
                What::Mark | What::Unknown => {}
            }
        }
        self.next = contents.end();
        Ok(())
    }

    fn message(&mut self, row: &Row, message: &MessageRow) -> Result<(), Error> {
        let &MessageRow { topic, queue, queue_offset, store_time, tag, ref keys } = message;
        let &Row { position, len, crc, .. } = row;
        let topic = TopicId(topic);
        let (slot, expected) = self.index.place(topic, queue);
        if expected != queue_offset {
            let why = format!(
                "queue {queue} of topic {} ends at {expected}, and the message at position {position} has offset \
                 {queue_offset}",
                topic.0
            );
            return Err(Error::Corrupt(why));
        }
        self.index.push(slot, HotRow { position, tag, store_time, len, crc }, position);
        for &hash in keys {
            self.index.keys.push(KeyRow { hash, position, store_time });
        }
        if !planted::on(Bug::HalvesNotReplayed) {
            self.state.stored(&state::Stored { topic, queue, queue_offset, position, len, store_time });
        }
        if !planted::on(Bug::TimeNotReplayed) {
            self.last_time = self.last_time.max(store_time);
        }
        Ok(())
    }
}
