//! A virtual broker without its I/O: records go in, entries, effects and visible rows come out.
//!
//! A record counts from the moment it is staged (offsets, state), and shows once it is acknowledged (rows, effects).
//! There is no way back: if the log ends, the core is dropped, and built again from the log by whoever owns it then.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use planted::Bug;
use protocol::message::Stored;
use protocol::message::stored::{self, stored_len};

use super::clock::Now;
use super::record::{Effect, NewMessage, Outcome, Placed, Record, Refused, Staged};
use super::tail::Tail;
use crate::checkpoint::Cut;
use crate::checkpoint::write::Warm;
use crate::entry::batch::Closed;
use crate::entry::format::ROW_ROOM;
use crate::entry::{Batch, MAX_ENTRY};
use crate::index::keys::KeyRow;
use crate::index::queue::HotRow;
use crate::index::{Index, Rows, Slot};
use crate::state::{self, Change, State, TopicId};

/// How much a virtual broker holds, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// An entry is closed when it has this many bytes.
    pub entry_bytes: usize,
    /// Entries on their way to the bookies. Few, so that entries grow with the load.
    pub flights: usize,
    /// Bytes that are not acknowledged; beyond them messages are refused.
    pub unacknowledged: usize,
    /// How much more than that offsets and decisions may add.
    pub reserve: usize,
    /// Of the newest entries, kept in memory.
    pub tail_bytes: usize,
    /// Of older entries that were read again, and of blocks of checkpoints.
    pub read_bytes: usize,
    pub block_bytes: usize,
    /// A checkpoint is taken after so many bytes of log or rows in memory, and this long after a record at the latest.
    pub checkpoint_bytes: u64,
    pub checkpoint_rows: usize,
    pub checkpoint_after: Duration,
    /// How often a link is looked for of which little is needed any more.
    pub thin_every: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            entry_bytes: 512 << 10,
            flights: 2,
            unacknowledged: 12 << 20,
            reserve: 2 << 20,
            tail_bytes: 64 << 20,
            read_bytes: 32 << 20,
            block_bytes: 16 << 20,
            checkpoint_bytes: 96 << 20,
            checkpoint_rows: 256 << 10,
            checkpoint_after: Duration::from_secs(15),
            thin_every: Duration::from_secs(600),
        }
    }
}

/// What a core is, and where it begins.
pub struct Beginning {
    pub vb: u32,
    pub epoch: u64,
    pub store_host: SocketAddr,
    pub limits: Limits,
    pub state: State,
    pub index: Index,
    /// The end of the log, everything before it acknowledged.
    pub end: u64,
    /// What the newest checkpoint covers.
    pub covered: u64,
    /// Store times go on from here.
    pub last_time: i64,
}

pub struct Core {
    vb: u32,
    epoch: u64,
    store_host: SocketAddr,
    limits: Limits,
    state: State,
    index: Index,
    tail: Tail,
    open: Batch,
    open_since: Duration,
    open_grown: Vec<Slot>,
    /// Closed, to be appended next.
    closed: VecDeque<Entry>,
    /// Given to the log, in order.
    flying: VecDeque<Entry>,
    /// Somebody has an entry in hand that the log has not taken yet.
    appending: bool,
    acknowledged: u64,
    /// By the newest checkpoint.
    covered: u64,
    /// When the newest acknowledged entry was given to the log.
    confirmed_at: Duration,
    last_time: i64,
    effects: VecDeque<Pending>,
    stalled: Option<String>,
    ended: bool,
    spare: BytesMut,
}

struct Entry {
    base: u64,
    body: Bytes,
    since: Duration,
    taken_at: Duration,
    /// Queues that grew, and where they end with it.
    grown: Vec<(Slot, u64)>,
}

impl Entry {
    fn end(&self) -> u64 {
        self.base + self.body.len() as u64
    }
}

struct Pending {
    after: u64,
    since: Duration,
    /// Whether it is fired as slow in time.
    impatient: bool,
    effect: Option<Effect>,
}

/// Messages are refused when the rows in memory are those of so many checkpoints: these do not keep up.
const MOST_ROUNDS: usize = 16;

/// What an event let go: to be fired, in order, outside the lock.
#[derive(Default)]
pub struct Released {
    pub effects: Vec<(Effect, Outcome)>,
    /// Queues that have more to read.
    pub grown: Vec<(TopicId, u16)>,
}

impl Core {
    pub fn new(beginning: Beginning) -> Core {
        let Beginning { vb, epoch, store_host, limits, state, index, end, covered, last_time } = beginning;
        Core {
            vb,
            epoch,
            store_host,
            limits,
            state,
            index,
            tail: Tail::new(limits.tail_bytes),
            open: Batch::new(end, BytesMut::new(), Vec::new()),
            open_since: Duration::ZERO,
            open_grown: Vec::new(),
            closed: VecDeque::new(),
            flying: VecDeque::new(),
            appending: false,
            acknowledged: end,
            covered,
            confirmed_at: Duration::ZERO,
            last_time,
            effects: VecDeque::new(),
            stalled: None,
            ended: false,
            spare: BytesMut::new(),
        }
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn ended(&self) -> bool {
        self.ended
    }

    /// When the newest acknowledged entry was given to the log: then, at least, the log was ours.
    pub fn confirmed_at(&self) -> Duration {
        self.confirmed_at
    }

    /// Everything before it is acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Everything that was staged so far lies before it, or ends there.
    pub fn staged(&self) -> u64 {
        if self.open.is_empty() { self.open.base() } else { self.open.position() }
    }

    /// The store time of the newest record.
    pub fn last_time(&self) -> i64 {
        self.last_time
    }

    /// Whether messages of so many bytes would be refused now.
    pub fn refusal(&self, bytes: usize, now: Now) -> Option<Refused> {
        if self.ended {
            return Some(Refused::Fenced);
        }
        if let Some(why) = &self.stalled {
            return Some(Refused::Full(why.clone()));
        }
        let waiting = self.oldest().map_or(Duration::ZERO, |since| now.at.saturating_sub(since));
        let full = self.held() + bytes > self.limits.unacknowledged && self.held() > 0
            || self.index.hot_rows() > MOST_ROUNDS * self.limits.checkpoint_rows;
        let too_long = waiting > self.state.settings().send_wait.duration();
        (full || too_long).then_some(Refused::Busy { wait: waiting })
    }

    /// Bytes that are not acknowledged, and for how long the oldest of them waits.
    pub fn unconfirmed(&self, now: Now) -> (usize, Duration) {
        (self.held(), self.oldest().map_or(Duration::ZERO, |since| now.at.saturating_sub(since)))
    }

    /// Bytes that are not acknowledged.
    fn held(&self) -> usize {
        (self.open.base() - self.acknowledged) as usize
            + if self.open.is_empty() { 0 } else { self.open.len() }
    }

    /// Since when the oldest of them waits.
    fn oldest(&self) -> Option<Duration> {
        let closed = self.flying.front().or(self.closed.front()).map(|entry| entry.since);
        closed.or_else(|| (!self.open.is_empty()).then_some(self.open_since))
    }

    /// Takes records that are stored together or not at all, and at once gives each its place.
    pub fn stage(&mut self, unit: &[Record<'_>], now: Now) -> Result<Staged, Refused> {
        let changes = Encoded::of(unit);
        let bytes = changes.bytes + unit.iter().map(|record| self.room_of(record)).sum::<usize>();
        self.check(unit, bytes, now)?;
        if bytes > MAX_ENTRY - Batch::ROOM {
            return Err(Refused::TooLarge { bytes });
        }
        let full = self.open.len() + bytes > self.limits.entry_bytes;
        if full && !self.open.is_empty() {
            self.close();
        }
        if self.open.is_empty() {
            self.open_since = now.at;
        }
        self.last_time =
            if planted::on(Bug::StoreTimeFollowsClock) { now.wall } else { self.last_time.max(now.wall) };
        let mut staged = Staged { first: None, rest: Vec::new(), store_time: self.last_time, end: 0 };
        let mut changes = changes.changes.iter();
        for record in unit {
            if planted::on(Bug::UnitSplit) && !self.open.is_empty() {
                self.close();
            }
            match record {
                Record::Message(message) => staged.push(self.stage_message(message)),
                Record::Change(change) => {
                    if let Some(encoded) = changes.next() {
                        self.open.change(encoded, change.critical(), self.last_time);
                    }
                    self.index.note(change, &self.state);
                    self.state.apply(change, self.last_time);
                }
                Record::Mark => self.open.mark(self.last_time),
            }
        }
        staged.end = self.open.position();
        Ok(staged)
    }

    fn check(&self, unit: &[Record<'_>], bytes: usize, now: Now) -> Result<(), Refused> {
        unit.iter().try_for_each(storable)?;
        let is = |kind: fn(&Record<'_>) -> bool| unit.iter().any(kind);
        let message = is(|record| matches!(record, Record::Message(_)));
        // Whoever decides on a transaction says so once: the message that comes with it is let in as a change is.
        let decision = is(|record| matches!(record, Record::Change(Change::Decided { .. })));
        if message && !decision {
            return self.refusal(bytes, now).map_or(Ok(()), Err);
        }
        if self.ended {
            return Err(Refused::Fenced);
        }
        let waiting = self.oldest().map_or(Duration::ZERO, |since| now.at.saturating_sub(since));
        match self.held() + bytes > self.limits.unacknowledged + self.limits.reserve && self.held() > 0 {
            true => Err(Refused::Busy { wait: waiting }),
            false => Ok(()),
        }
    }

    /// Not less than what a record adds to its entry; changes count with their encoded bytes.
    fn room_of(&self, record: &Record<'_>) -> usize {
        let Record::Message(message) = record else { return ROW_ROOM };
        let properties = message.properties.iter().map(|piece| piece.len()).sum();
        let (topic, body) = (message.topic_name.len(), message.body.len());
        stored_len(topic, body, properties, &message.born_host, &self.store_host)
            + ROW_ROOM
            + message.keys.len() * 8
    }

    fn stage_message(&mut self, message: &NewMessage<'_>) -> Placed {
        let position = self.open.position();
        let (slot, queue_offset) = self.index.place(message.topic, message.queue);
        let stored = Stored {
            topic: message.topic_name,
            queue: i32::from(message.queue),
            flag: message.flag,
            queue_offset: queue_offset as i64,
            physical_offset: position as i64,
            sys_flag: message.sys_flag,
            born_time: message.born_time,
            born_host: message.born_host,
            store_time: self.last_time,
            store_host: self.store_host,
            reconsume_times: message.reconsume_times,
            prepared_offset: message.prepared_offset,
            body: message.body,
            properties: message.properties,
        };
        let (len, crc) = self.open.message(&stored, message.topic.0, message.tag, message.keys);
        let grown = self.open.base();
        let row = HotRow { position, tag: message.tag, store_time: self.last_time, len, crc };
        if !self.index.push(slot, row, grown) {
            self.open_grown.push(slot);
        }
        if planted::on(Bug::RowsBeforeAcknowledged) {
            self.index.show_all();
        }
        let store_time = self.last_time;
        for &hash in message.keys {
            self.index.keys.push(KeyRow { hash, position, store_time });
        }
        let (topic, queue) = (message.topic, message.queue);
        self.state.stored(&state::Stored { topic, queue, queue_offset, position, len, store_time });
        Placed { position, queue_offset }
    }

    /// Fires `effect` once everything that was staged so far is acknowledged, or the log has ended.
    pub fn then(&mut self, effect: Effect, now: Now) {
        self.push_effect(effect, false, now);
    }

    /// As [`Core::then`], but no later than a sender is willing to wait; then with [`Outcome::Slow`].
    pub fn then_soon(&mut self, effect: Effect, now: Now) {
        self.push_effect(effect, true, now);
    }

    fn push_effect(&mut self, effect: Effect, impatient: bool, now: Now) {
        let after = self.staged();
        self.effects.push_back(Pending { after, since: now.at, impatient, effect: Some(effect) });
    }

    /// How many effects wait for the log, and the first of them for how long.
    pub fn waiting(&self, now: Now) -> (usize, Duration) {
        let oldest = self.effects.front().map_or(Duration::ZERO, |first| now.at.saturating_sub(first.since));
        (self.effects.len(), oldest)
    }

    /// Whether an effect waits, or a record.
    pub fn is_waiting(&self) -> bool {
        !self.effects.is_empty() || self.open.position() > self.acknowledged && !self.open.is_empty()
    }

    /// Closes the open entry.
    fn close(&mut self) {
        let none = Batch::new(0, BytesMut::new(), Vec::new());
        let open = std::mem::replace(&mut self.open, none);
        let base = open.base();
        let Closed { body, buffer, table } = open.close(self.vb, self.epoch);
        let buffer = if buffer.capacity() > 0 { buffer } else { std::mem::take(&mut self.spare) };
        self.open = Batch::new(base + body.len() as u64, buffer, table);
        let index = &self.index;
        let end_of = |slot: Slot| (slot, index.at(slot).map_or(0, |queue| queue.end()));
        let grown = self.open_grown.drain(..).map(end_of).collect();
        self.tail.push(base, body.clone());
        self.closed.push_back(Entry { base, body, since: self.open_since, taken_at: Duration::ZERO, grown });
    }

    /// Beside another an entry leaves only if it is large: the disk is busy, and what comes meanwhile shares the next sync.
    fn may_fly(&self) -> bool {
        let large = !self.closed.is_empty() || self.open.len() >= self.limits.entry_bytes / 2;
        self.flying.is_empty() || large && self.flying.len() < self.limits.flights
    }

    /// The next entry for the log, if it is time for one. Its taker says what became of it with [`Core::appended`] or
    /// [`Core::not_appended`], and nobody else is given one before.
    pub fn take(&mut self, now: Now) -> Option<(u64, Bytes)> {
        if self.appending || self.ended || !self.may_fly() {
            return None;
        }
        if self.closed.is_empty() && !self.open.is_empty() {
            self.close();
        }
        let mut entry = self.closed.pop_front()?;
        entry.taken_at = now.at;
        let taken = (entry.base, entry.body.clone());
        self.flying.push_back(entry);
        self.appending = true;
        Some(taken)
    }

    pub fn appended(&mut self) {
        self.appending = false;
    }

    /// The log had no room for it. Whether to try again at once: what took the room has been acknowledged meanwhile, and
    /// no acknowledgement is to come that would make its bringer try.
    #[must_use]
    pub fn not_appended(&mut self) -> bool {
        self.appending = false;
        if let Some(entry) = self.flying.pop_back() {
            self.closed.push_front(entry);
        }
        self.flying.is_empty()
    }

    /// Everything before `position` is acknowledged.
    pub fn advance(&mut self, position: u64, into: &mut Released) {
        if self.ended {
            return;
        }
        self.acknowledged = self.acknowledged.max(position);
        while self.flying.front().is_some_and(|entry| entry.end() <= position) {
            let Some(entry) = self.flying.pop_front() else { break };
            self.confirmed_at = entry.taken_at;
            for (slot, end) in entry.grown {
                into.grown.extend(self.index.show(slot, end));
            }
        }
        let early = planted::on(Bug::EffectBeforeAcknowledged);
        while self.effects.front().is_some_and(|pending| pending.after <= position || early) {
            let effect = self.effects.pop_front().and_then(|pending| pending.effect);
            into.effects.extend(effect.map(|effect| (effect, Outcome::Acknowledged)));
        }
        if let Some(free) = self.tail.shrink(self.acknowledged)
            && self.spare.capacity() == 0
        {
            self.spare = free.try_into_mut().unwrap_or_default();
        }
    }

    /// Why nothing is acknowledged at present, if so.
    pub fn stall(&mut self, why: Option<String>) {
        self.stalled = why;
    }

    /// Tells senders who wait for long that they do.
    pub fn tick(&mut self, now: Now, into: &mut Released) {
        let patience = self.state.settings().flush_wait.duration();
        let late = |pending: &Pending| now.at.saturating_sub(pending.since) >= patience;
        for pending in self.effects.iter_mut().take_while(|pending| late(pending)) {
            if pending.impatient {
                let slow = planted::on(Bug::SlowTakenForAcknowledged);
                let outcome = if slow { Outcome::Acknowledged } else { Outcome::Slow };
                into.effects.extend(pending.effect.take().map(|effect| (effect, outcome)));
            }
        }
    }

    /// The log is over: nothing more is acknowledged, and nothing more is taken.
    pub fn end(&mut self, into: &mut Released) {
        self.ended = true;
        let effects = self.effects.drain(..).filter_map(|pending| pending.effect);
        let fenced = planted::on(Bug::FencedTakenForAcknowledged);
        let outcome = if fenced { Outcome::Acknowledged } else { Outcome::Fenced };
        into.effects.extend(effects.map(|effect| (effect, outcome)));
        self.closed.clear();
        self.flying.clear();
    }

    pub fn min_offset(&self, topic: TopicId, queue: u16) -> u64 {
        self.index.queue(topic, queue).map_or(0, |queue| queue.min())
    }

    pub fn max_offset(&self, topic: TopicId, queue: u16) -> u64 {
        self.index.queue(topic, queue).map_or(0, |queue| queue.max())
    }

    /// Rows of acknowledged messages from an offset on: at most `max_rows`, and about `max_bytes` of messages.
    pub fn rows(&self, topic: TopicId, queue: u16, from: u64, max_rows: usize, max_bytes: usize) -> Rows {
        match self.index.queue(topic, queue) {
            Some(queue) => queue.rows(from, max_rows, max_bytes),
            None if from == 0 => Rows::End,
            None => Rows::Outside { min: 0, max: 0 },
        }
    }

    /// A message's bytes, if they are still in memory.
    pub fn bytes(&self, position: u64, len: u32) -> Option<Bytes> {
        self.tail.slice(position, len)
    }

    /// The entry that contains a position, if it is still in memory and acknowledged.
    pub fn entry(&self, position: u64) -> Option<(u64, Bytes)> {
        if position >= self.acknowledged { None } else { self.tail.containing(position) }
    }

    /// Whether there is something acknowledged that no checkpoint has, and whether that is much.
    pub fn uncovered(&self) -> (bool, bool) {
        let bytes = self.acknowledged - self.covered.min(self.acknowledged);
        let rows = self.index.hot_rows().max(self.index.keys.len());
        let Limits { checkpoint_bytes, checkpoint_rows, .. } = self.limits;
        (bytes > 0, bytes >= checkpoint_bytes || rows >= checkpoint_rows)
    }

    /// Whether much more waits for a checkpoint than should.
    pub fn is_pressed(&self) -> bool {
        let rows = self.index.hot_rows().max(self.index.keys.len());
        let bytes = self.acknowledged - self.covered.min(self.acknowledged);
        let Limits { checkpoint_bytes, checkpoint_rows, .. } = self.limits;
        rows >= checkpoint_rows / 2 * 3 || bytes >= 2 * checkpoint_bytes
    }

    /// What changed since the cut before, up to the end of what is staged: to be saved once that is acknowledged.
    pub fn cut(&mut self) -> Cut {
        if !self.open.is_empty() {
            self.close();
        }
        Cut {
            covered: self.open.base(),
            last_time: self.last_time,
            state: self.state.dirty(),
            queues: self.index.cut_table(),
            warm: self.index.cut_warm(),
            keys: self.index.keys.cut(),
        }
    }

    /// A cut was not saved after all.
    pub fn uncut(&mut self, cut: &Cut) {
        self.state.dirty_again(cut.state.iter().map(|block| block.key));
        self.index.uncut_table(cut.queues.iter().map(|(part, _)| *part));
    }

    /// These queues' rows are in a checkpoint up to there.
    pub fn cool(&mut self, warm: &[Warm]) {
        warm.iter().for_each(|queue| self.index.cool(queue.slot, queue.end));
    }

    /// Everything before `covered` is in a checkpoint, and has left memory.
    pub fn covered(&mut self, covered: u64) {
        self.covered = covered;
        self.index.cooled();
        self.index.keys.forget(covered);
    }

    /// No message of a queue before `min` is kept.
    pub fn raise(&mut self, slot: Slot, min: u64) {
        self.index.raise(slot, min);
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub fn index(&self) -> &Index {
        &self.index
    }
}

/// Whether a message fits its layout.
fn storable(record: &Record<'_>) -> Result<(), Refused> {
    let Record::Message(message) = record else { return Ok(()) };
    let properties = message.properties.iter().map(|piece| piece.len()).sum();
    let fits = stored::check(message.topic_name.len(), message.body.len(), properties);
    fits.map_err(|too_long| Refused::Invalid(too_long.to_string()))?;
    match message.keys.len() > MOST_KEYS {
        true => Err(Refused::Invalid(format!("{} keys: {MOST_KEYS} is the most", message.keys.len()))),
        false => Ok(()),
    }
}

/// A row of the table has a length of 16 bits.
const MOST_KEYS: usize = 4096;

/// The changes of a unit, encoded.
struct Encoded {
    changes: Vec<Bytes>,
    bytes: usize,
}

impl Encoded {
    fn of(unit: &[Record<'_>]) -> Encoded {
        let encode = |record: &Record<'_>| match record {
            Record::Change(change) => Some(change.encode()),
            _ => None,
        };
        let changes: Vec<Bytes> = unit.iter().filter_map(encode).collect();
        let bytes = changes.iter().map(Bytes::len).sum();
        Encoded { changes, bytes }
    }
}
