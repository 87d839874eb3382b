//! One queue of ours: pulls, hands out, keeps the offset.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use protocol::body::heartbeat::Subscription;
use protocol::remoting::header::{Pull, Suspend};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::group::{Group, Info, Mode, TRUST};
use super::hand;
use super::progress::Progress;
use super::pull::{self, Pulled};
use crate::connect::now_ms;
use crate::{Outcome, Queue};

/// A broker holds a pull for so long while there is nothing.
const HOLD: Duration = Duration::from_secs(15);
/// After so long without an answer it is asked whether the broker is there; then after twice as long.
const QUIET: Duration = Duration::from_secs(2);
/// After a failure.
const PAUSE: Duration = Duration::from_secs(1);
const AT_ONCE: i32 = 32;
/// With so many in hand, or so far between the oldest and the newest, nothing more is pulled.
const MOST_IN_HAND: usize = 1000;
const WIDEST: i64 = 2000;

pub(super) struct Feed {
    pub queue: Queue,
    pub subscription: Subscription,
    progress: Mutex<Progress>,
    state: Mutex<State>,
    stopped: AtomicBool,
    /// Something is done, or to be done otherwise: stop, go elsewhere, locked.
    pub changed: Notify,
    idle: Notify,
    pulled_at: AtomicU64,
    pub consumed_at: AtomicU64,
}

#[derive(Default)]
struct State {
    /// What the broker was told.
    committed: Option<i64>,
    /// Known where to begin; nothing is committed before.
    begun: bool,
    /// Where an administrator wants us to go on.
    seek: Option<i64>,
    locked: Option<Instant>,
}

impl Feed {
    pub fn new(queue: Queue, subscription: Subscription) -> Arc<Feed> {
        Arc::new(Feed {
            queue,
            subscription,
            progress: Mutex::default(),
            state: Mutex::default(),
            stopped: AtomicBool::new(false),
            changed: Notify::new(),
            idle: Notify::new(),
            pulled_at: AtomicU64::new(0),
            consumed_at: AtomicU64::new(0),
        })
    }

    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    pub fn seek(&self, offset: i64) {
        self.state.lock().seek = Some(offset);
        self.changed.notify_one();
    }

    pub fn locked(&self, since: Instant) {
        let before = self.state.lock().locked.replace(since);
        if before.is_none() {
            self.changed.notify_one();
        }
    }

    pub fn unlocked(&self) {
        self.state.lock().locked = None;
    }

    pub fn is_locked(&self) -> bool {
        self.state.lock().locked.is_some_and(|since| since.elapsed() < TRUST)
    }

    /// What the broker should be told, if it is anything new.
    pub fn to_commit(&self) -> Option<i64> {
        let offset = self.progress.lock().committable();
        let state = self.state.lock();
        (state.begun && state.committed != Some(offset)).then_some(offset)
    }

    pub fn committed(&self, offset: i64) {
        self.state.lock().committed = Some(offset);
    }

    /// Waits until no message of it is in hand.
    pub async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.progress.lock().under_way() == 0 {
                return;
            }
            idle.await;
        }
    }

    pub fn done(&self, offsets: impl Iterator<Item = i64>) {
        let mut progress = self.progress.lock();
        offsets.for_each(|offset| progress.done(offset));
        let idle = progress.under_way() == 0;
        drop(progress);
        self.consumed_at.store(now_ms(), Ordering::Relaxed);
        self.changed.notify_one();
        if idle {
            self.idle.notify_one();
        }
    }

    /// What is in hand is another's: it will come to him.
    pub fn abandon(&self) {
        let mut progress = self.progress.lock();
        *progress = Progress::starting_at(progress.committable());
        drop(progress);
        self.idle.notify_one();
    }

    pub fn info(&self) -> Info {
        let progress = self.progress.lock();
        Info {
            cached_msg_count: progress.under_way(),
            commit_offset: progress.committable(),
            droped: self.is_stopped(),
            last_consume_timestamp: self.consumed_at.load(Ordering::Relaxed),
            last_pull_timestamp: self.pulled_at.load(Ordering::Relaxed),
            locked: self.is_locked(),
        }
    }

    /// Consumes the queue until it is given up.
    pub async fn run(self: Arc<Feed>, group: Arc<Group>) {
        let mut next = None;
        while !self.is_stopped() {
            if group.terms.mode == Mode::Orderly && !self.is_locked() {
                // Whoever had the lock may have gone on: the offset is asked for again.
                next = None;
                self.pause().await;
                continue;
            }
            if let Some(offset) = self.state.lock().seek.take() {
                next = Some(offset);
                *self.progress.lock() = Progress::starting_at(offset);
            }
            let result = match next {
                None => self.begin(&group).await.map(Some),
                Some(offset) if self.has_room() => self.turn(&group, offset).await,
                Some(offset) => {
                    self.pause().await;
                    Ok(Some(offset))
                }
            };
            match result {
                Ok(offset) => next = offset,
                Err(error) => {
                    tracing::debug!("{}: {}: {error}", group.name(), self.queue);
                    self.pause().await;
                }
            }
        }
    }

    async fn pause(&self) {
        let _ = tokio::time::timeout(PAUSE, self.changed.notified()).await;
    }

    fn has_room(&self) -> bool {
        let progress = self.progress.lock();
        progress.under_way() < MOST_IN_HAND && progress.span() < WIDEST
    }

    async fn begin(&self, group: &Group) -> Outcome<i64> {
        let (client, terms) = (&group.client, &group.terms);
        let offset = match terms.mode {
            Mode::Broadcast => pull::start(client, &self.queue, terms.from).await?,
            _ => pull::beginning(client, &terms.group, &self.queue, terms.from).await?,
        };
        *self.progress.lock() = Progress::starting_at(offset);
        let mut state = self.state.lock();
        (state.begun, state.committed) = (true, Some(offset));
        Ok(offset)
    }

    /// Pulls once and hands out what came. Where to go on; nothing if that has to be found out.
    async fn turn(self: &Arc<Feed>, group: &Arc<Group>, offset: i64) -> Outcome<Option<i64>> {
        let Some(pulled) = self.pull(group, offset).await? else { return Ok(Some(offset)) };
        if pulled.moved {
            tracing::warn!(
                "{}: {} has nothing at {offset}, goes on at {}",
                group.name(),
                self.queue,
                pulled.next
            );
            self.idle().await;
            *self.progress.lock() = Progress::starting_at(pulled.next);
            return Ok(Some(pulled.next));
        }
        {
            let mut progress = self.progress.lock();
            pulled.messages.iter().for_each(|message| progress.take(message.offset));
            progress.pulled_to(pulled.next);
        }
        let all = hand::out(group, self, pulled.messages).await;
        Ok(all.then_some(pulled.next))
    }

    /// `None`: there is something else to be done first.
    async fn pull(&self, group: &Group, offset: i64) -> Outcome<Option<Pulled>> {
        let request = Pull {
            group: &group.terms.group,
            topic: &self.queue.topic,
            queue: self.queue.id,
            offset,
            max_messages: AT_ONCE,
            suspend: Suspend::For(HOLD.as_millis() as u64),
            subscription: Some(&self.subscription.sub_string),
            sub_version: self.subscription.sub_version,
            expression_type: Some(&self.subscription.expression_type),
            broker: Some(&self.queue.broker),
            ..Pull::default()
        };
        self.pulled_at.store(now_ms(), Ordering::Relaxed);
        let routes = &group.client.shared.routes;
        let asked = routes.any(&self.queue.broker);
        let mut quiet = QUIET;
        let mut check = Instant::now() + quiet;
        let mut pulling =
            std::pin::pin!(pull::pull_once(&group.client, &self.queue, &self.subscription, &request, HOLD));
        loop {
            tokio::select! {
                biased;
                pulled = &mut pulling => return pulled.map(Some),
                () = self.changed.notified() => {
                    // A broker that is only paused does not close connections, and another serves the queue.
                    let moved = routes.any(&self.queue.broker) != asked;
                    if moved || self.is_stopped() || self.state.lock().seek.is_some() {
                        return Ok(None);
                    }
                }
                () = sleep_until(check) => {
                    let answers = group.client.shared.answers(&self.queue).await;
                    quiet = if answers { quiet * 2 } else { QUIET / 4 };
                    check = Instant::now() + quiet;
                }
            }
        }
    }
}
