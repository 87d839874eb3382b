//! The log's state between its ledgers: positions, what is unacknowledged, and who may acknowledge it. Pure.
//!
//! Entries go to the *current* lane, the writer of one ledger. When the log goes on in another ledger, the old lane
//! is frozen where it is acknowledged, everything unacknowledged is sent again in the new one, and the log *holds*:
//! nothing is acknowledged until the transaction that links the new ledger is known to be done.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use net::{Reply, Wake, wake_later};
use planted::Bug;
use protocol::{BookieId, LedgerId};
use tokio::sync::{Notify, watch};

use crate::drive::{Dispatch, Driven};
use crate::error::Ended;
use crate::log::format::Head;
use crate::log::{Epoch, HEAD_LEN, Health, Limits, MAX_APPEND, Position, Progress, Refused};
use crate::writer::{ENTRY_COST, End, Outgoing, Patience, Runs, Target, Trouble, Writer, token, untoken};

/// An entry that is not acknowledged yet, as it was appended.
struct Kept {
    position: Position,
    head: [u8; HEAD_LEN],
    body: Bytes,
}

impl Kept {
    fn cost(&self) -> usize {
        self.body.len() + HEAD_LEN + ENTRY_COST
    }
}

/// The writer of one ledger of the chain.
struct Lane {
    /// Tells its replies from those of other lanes.
    number: u8,
    base: Position,
    began: Duration,
    writer: Writer,
}

impl Lane {
    fn acknowledged(&self) -> Position {
        end_position(self.base, self.writer.acknowledged())
    }
}

/// The position behind the last entry of a ledger that begins at `base`.
pub fn end_position(base: Position, end: End) -> Position {
    let heads = HEAD_LEN as u64 * (end.last.0 + 1) as u64;
    Position(base.0.saturating_add(end.length as u64).saturating_sub(heads))
}

/// Why the log should go on in another ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The current ledger acknowledges nothing more.
    Dead(Trouble),
    /// A bookie is lost; the ledger still acknowledges.
    Lost(BookieId),
    Slow(BookieId),
    /// It is large or old.
    Full,
    /// It names bookies that are absent, and perhaps need not.
    Reduced,
}

/// A ledger that entries are no longer written to, with what its bookies lack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    pub ledger: LedgerId,
    pub missing: Vec<(BookieId, Runs)>,
}

/// What an owner may want to act on: how bad the ledger's trouble is, and whether it is large.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct News {
    severity: Option<u8>,
    large: bool,
}

/// One who is to hear of progress, outside of all locks.
struct Follower(Weak<dyn Wake>);

impl Wake for Follower {
    fn wake(self: Arc<Self>) {
        if let Some(follower) = self.0.upgrade() {
            follower.wake();
        }
    }
}

/// `acknowledged <= every kept entry < end`; kept entries are consecutive.
pub struct Core {
    epoch: Epoch,
    limits: Limits,
    patience: Patience,
    end: Position,
    acknowledged: Position,
    kept: VecDeque<Kept>,
    kept_cost: usize,
    current: Lane,
    lanes: u8,
    /// Frozen lanes whose bookies still owe answers.
    retired: Vec<Lane>,
    /// The last link's ledger and where it ends, while the transaction that links the current one is not known to be
    /// done. Nothing is acknowledged meanwhile.
    held: Option<(LedgerId, End)>,
    /// How the current ledger does, and why there is no room for much more.
    health: Health,
    short: Option<String>,
    sealing: bool,
    ended: bool,
    progress: watch::Sender<Progress>,
    follower: Option<Arc<Follower>>,
    out: Vec<Dispatch>,
    adds: Vec<Outgoing>,
    /// Wakes the owner's task: there is a reason to roll, or to look after settled ledgers.
    owner: Arc<Notify>,
    /// What the owner has seen of the current ledger: it is woken only for what is new.
    seen: News,
    /// Wakes the timer, which sleeps while no answer is awaited.
    timer: Arc<Notify>,
    ticking: bool,
}

impl Core {
    /// Begins at `base` in a ledger that is linked there.
    pub fn new(
        epoch: Epoch,
        limits: Limits,
        patience: Patience,
        base: Position,
        target: Target,
        owner: Arc<Notify>,
        timer: Arc<Notify>,
    ) -> Core {
        let progress = Progress { acknowledged: base, health: Health::Good, ended: None };
        let writer = Writer::new(target, patience);
        Core {
            epoch,
            limits,
            patience,
            end: base,
            acknowledged: base,
            kept: VecDeque::new(),
            kept_cost: 0,
            current: Lane { number: 0, base, began: Duration::ZERO, writer },
            lanes: 0,
            retired: Vec::new(),
            held: None,
            health: Health::Good,
            short: None,
            sealing: false,
            ended: false,
            progress: watch::Sender::new(progress),
            follower: None,
            out: Vec::new(),
            adds: Vec::new(),
            owner,
            seen: News::default(),
            timer,
            ticking: false,
        }
    }

    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub fn follow(&mut self, follower: Weak<dyn Wake>) {
        self.follower = Some(Arc::new(Follower(follower)));
    }

    /// Changes what is known of the log's progress, and says so if there was anything to change.
    fn publish(&mut self, change: impl FnOnce(&mut Progress) -> bool) {
        if self.progress.send_if_modified(change)
            && let Some(follower) = &self.follower
        {
            wake_later(follower);
        }
    }

    pub fn append(&mut self, parts: &[Bytes], now: Duration) -> Result<Position, Refused> {
        let size: usize = parts.iter().map(Bytes::len).sum();
        if size == 0 || size > MAX_APPEND {
            return Err(Refused::Size(size));
        }
        if self.ended || self.sealing {
            return Err(self.ended().unwrap_or(Ended::Sealed).into());
        }
        if !self.has_room(size) {
            return Err(Refused::Full);
        }
        let body = match parts {
            [whole] => whole.clone(),
            parts => parts.concat().into(),
        };
        let position = self.end;
        let head = Head { epoch: self.epoch, position }.encode(&body);
        let kept = Kept { position, head, body };
        self.end = position.after(kept.body.len());
        self.kept_cost += kept.cost();
        self.add(&kept, now);
        self.kept.push_back(kept);
        self.wake_owner_for_news();
        Ok(position)
    }

    pub fn has_room(&self, bytes: usize) -> bool {
        self.limits.admits(self.kept_cost, bytes + HEAD_LEN + ENTRY_COST)
    }

    fn add(&mut self, kept: &Kept, now: Duration) {
        let Lane { number, writer, .. } = &mut self.current;
        writer.add(&kept.head, kept.body.clone(), now, &mut self.adds);
        let ensemble = &writer.target().ensemble;
        self.out.extend(self.adds.drain(..).map(|Outgoing { index, entry, request }| Dispatch {
            bookie: ensemble[index].clone(),
            token: token(index, entry) | u64::from(*number) << 56,
            request,
        }));
        if !std::mem::replace(&mut self.ticking, true) {
            self.timer.notify_one();
        }
    }

    fn news(&self) -> News {
        let writer = &self.current.writer;
        let large = writer.length() as u64 >= self.limits.roll_bytes && self.has_acknowledged();
        News { severity: writer.trouble().map(Trouble::severity), large }
    }

    fn wake_owner_for_news(&mut self) {
        let news = self.news();
        if news != self.seen {
            self.seen = news;
            self.owner.notify_one();
        }
    }

    /// The owner looks at everything now.
    pub fn owner_looks(&mut self) {
        self.seen = self.news();
    }

    /// Why to roll now, if there is a reason; the gravest.
    pub fn reason_to_roll(&self, now: Duration) -> Option<Reason> {
        if self.ended || self.held.is_some() {
            return None;
        }
        let writer = &self.current.writer;
        let age = now.saturating_sub(self.current.began);
        // With nothing acknowledged a new ledger would be just as full, and so on for ever.
        let is_full = self.has_acknowledged()
            && (writer.length() as u64 >= self.limits.roll_bytes || age >= self.limits.roll_age);
        match writer.trouble() {
            Some(Trouble::Lost(bookie, _)) => Some(Reason::Lost(bookie.clone())),
            Some(Trouble::Slow(_)) | None if is_full => Some(Reason::Full),
            Some(Trouble::Slow(bookie)) => Some(Reason::Slow(bookie.clone())),
            Some(dead) => Some(Reason::Dead(dead.clone())),
            None if !self.absent().is_empty() => Some(Reason::Reduced),
            None => None,
        }
    }

    /// Bookies that the current ledger names and does without.
    pub fn absent(&self) -> Vec<BookieId> {
        let writer = &self.current.writer;
        writer.lost().iter().filter_map(|index| writer.target().ensemble.get(index).cloned()).collect()
    }

    /// Members that failed in the current ledger.
    pub fn lost_since_begin(&self) -> Vec<BookieId> {
        let absent = self.current.writer.target().absent;
        let ensemble = &self.current.writer.target().ensemble;
        let lost = self.current.writer.lost().iter().filter(|index| !absent.contains(*index));
        lost.filter_map(|index| ensemble.get(index).cloned()).collect()
    }

    /// Whether an entry that was appended begins or ends at `position`, and it is not acknowledged yet.
    pub fn holds(&self, position: Position) -> bool {
        position == self.end || self.kept.iter().any(|kept| kept.position == position)
    }

    /// Freezes the current ledger, and sends everything unacknowledged again, in order, in the one given. Returns
    /// where the old one is to be closed. Until [`Core::link_is_done`] nothing is acknowledged.
    pub fn begin_roll(&mut self, target: Target, now: Duration) -> End {
        let end = self.current.writer.freeze();
        self.held = Some((self.current.writer.target().ledger, end));
        self.start_lane(target, now);
        end
    }

    fn start_lane(&mut self, target: Target, now: Duration) {
        self.lanes = self.lanes.wrapping_add(1);
        let writer = Writer::new(target, self.patience);
        let lane = Lane { number: self.lanes, base: self.acknowledged, began: now, writer };
        self.retired.push(std::mem::replace(&mut self.current, lane));
        let mut kept = std::mem::take(&mut self.kept);
        if planted::on(Bug::ResendOutOfOrder) {
            kept.make_contiguous().reverse();
        }
        kept.iter().for_each(|kept| self.add(kept, now));
        self.kept = kept;
    }

    /// The held ledger was closed by somebody else, at `end`, further on than it was acknowledged here. What it holds
    /// is in the log, and not sent again. The ledger that was begun instead is given up for `target`.
    pub fn adopt_end(&mut self, base: Position, end: End, target: Target, now: Duration) {
        if let Some((_, held)) = &mut self.held {
            *held = end;
        }
        self.forget_up_to(base);
        self.current.writer.freeze();
        self.start_lane(target, now);
    }

    /// The transaction is done: the current ledger is part of the log.
    pub fn link_is_done(&mut self) {
        self.held = None;
        self.publish_position(self.current.base);
        self.advance();
    }

    /// The last link's ledger, and how far it is acknowledged.
    pub fn tip_end(&self) -> (LedgerId, End) {
        let writer = &self.current.writer;
        self.held.unwrap_or_else(|| (writer.target().ledger, writer.acknowledged()))
    }

    /// Whether the current ledger has acknowledged anything.
    pub fn has_acknowledged(&self) -> bool {
        !self.current.writer.acknowledged().last.is_none()
    }

    pub fn acknowledged(&self) -> Position {
        self.acknowledged
    }

    /// Takes no more appends. Returns the end.
    pub fn begin_seal(&mut self) -> Position {
        self.sealing = true;
        self.end
    }

    /// Freezes the current ledger for good; where it is to be closed.
    pub fn freeze(&mut self) -> End {
        self.current.writer.freeze()
    }

    pub fn ended(&self) -> Option<Ended> {
        self.progress.borrow().ended.clone()
    }

    /// Nothing is acknowledged any more, and nothing is kept.
    pub fn finish(&mut self, how: Ended) {
        if !std::mem::replace(&mut self.ended, true) {
            self.current.writer.freeze();
            self.kept.clear();
            self.kept_cost = 0;
            self.publish(|p| p.ended.replace(how).is_none());
            self.owner.notify_one();
        }
    }

    pub fn set_health(&mut self, health: Health) {
        self.health = health;
        self.publish_health();
    }

    /// Why the log should be spared, if so.
    pub fn set_short(&mut self, short: Option<String>) {
        self.short = short;
        self.publish_health();
    }

    fn publish_health(&mut self) {
        let health = match (&self.short, &self.health) {
            (Some(short), Health::Stalled(why)) => Health::Stalled(format!("{short}; {why}")),
            (Some(short), _) => Health::Short(short.clone()),
            (None, health) => health.clone(),
        };
        self.publish(|p| {
            let other = p.ended.is_none() && p.health != health;
            if other {
                p.health = health;
            }
            other
        });
    }

    /// Acknowledges what the current ledger has.
    fn advance(&mut self) {
        if self.ended || (self.held.is_some() && !planted::on(Bug::AckBeforeRoll)) {
            return;
        }
        let acknowledged = self.current.acknowledged();
        if acknowledged > self.acknowledged {
            self.forget_up_to(acknowledged);
            self.publish_position(acknowledged);
        }
    }

    fn forget_up_to(&mut self, position: Position) {
        while let Some(kept) = self.kept.front()
            && kept.position < position
        {
            self.kept_cost -= kept.cost();
            self.kept.pop_front();
        }
        self.acknowledged = self.acknowledged.max(position);
    }

    fn publish_position(&mut self, position: Position) {
        self.publish(|p| {
            let further = p.ended.is_none() && position > p.acknowledged;
            if further {
                p.acknowledged = position;
            }
            further
        });
    }

    /// Looks for late bookies; whether it should be called again soon.
    pub fn tick(&mut self, now: Duration) -> bool {
        self.current.writer.tick(now);
        self.retired.iter_mut().for_each(|lane| lane.writer.tick(now));
        self.after_replies();
        self.ticking = !self.ended && (self.current.writer.is_waiting() || !self.retired.is_empty());
        self.ticking
    }

    fn after_replies(&mut self) {
        self.wake_owner_for_news();
        if self.retired.iter().any(|lane| lane.writer.is_settled()) {
            self.owner.notify_one();
        }
    }

    /// Retired ledgers of which everything is known that will be.
    pub fn take_settled(&mut self) -> Vec<Settled> {
        let mut settled = Vec::new();
        self.retired.retain(|lane| {
            let done = lane.writer.is_settled();
            if done {
                let ledger = lane.writer.target().ledger;
                settled.push(Settled { ledger, missing: lane.writer.missing() });
            }
            !done
        });
        settled
    }

    /// What the bookies of the current ledger lack, as far as it is known.
    pub fn missing_now(&self) -> Settled {
        let writer = &self.current.writer;
        Settled { ledger: writer.target().ledger, missing: writer.missing() }
    }

    pub fn is_current_settled(&self) -> bool {
        self.current.writer.is_settled()
    }
}

impl Driven for Core {
    fn answered(&mut self, token: u64, reply: Reply, _now: Duration) {
        let number = (token >> 56) as u8;
        let (index, entry) = untoken(token & ((1 << 56) - 1));
        if number == self.current.number {
            self.current.writer.answered(index, entry, reply);
            self.advance();
            self.wake_owner_for_news();
        } else if let Some(lane) = self.retired.iter_mut().find(|lane| lane.number == number) {
            lane.writer.answered(index, entry, reply);
            self.after_replies();
        }
    }

    fn take_outgoing(&mut self, into: &mut Vec<Dispatch>) {
        into.append(&mut self.out);
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.owner.notify_one();
        self.timer.notify_one();
    }
}
