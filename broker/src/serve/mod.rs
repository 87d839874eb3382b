//! RocketMQ's requests to a virtual broker, one verb a file. A request is admitted, dispatched once, and answered by
//! the function that it is dispatched to, now or when its records are acknowledged.
//!
//! * [`door`] — what comes in by a connection: admission, dispatch, and the end of the connection.
//! * [`answer`] — the duty to answer.
//! * [`send`], [`pull`], [`offsets`], [`view`], [`heartbeat`], [`locks`], [`send_back`], [`halves`], [`resume`] — the verbs.
//! * [`put`] — how a message gets to its queue, whoever sends it.
//! * [`delay`] — delivers delayed messages.
//! * [`commits`], [`held`], [`filter`], [`properties`] — what the verbs share.

pub mod answer;
pub(crate) mod commits;
pub(crate) mod counts;
mod delay;
pub(crate) mod door;
mod filter;
mod halves;
pub(crate) mod heartbeat;
mod held;
mod known;
mod locks;
pub(crate) mod offsets;
pub mod properties;
pub(crate) mod pull;
pub(crate) mod put;
mod resume;
mod send;
mod send_back;
mod upkeep;
mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use ledger::log::Logs;
use net::remoting::{Connection, Handler};
use parking_lot::Mutex;
use protocol::body::topic::{DataVersion, TopicConfig, TopicTable};
use protocol::remoting::code::response;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::admin::Rates;
use crate::error::Error;
use crate::members::{Locks, Members};
use crate::state::topic::perm;
use crate::state::{Change, Group, Settings, Topic, topic};
use crate::vb::clock::Clock;
use crate::vb::{Core, Now, Outcome, Record, Vb, VbSettings};
use answer::{Refusal, refuse};
use commits::Commits;
pub use counts::Counts;
use held::{Held, Queue};

/// For how long an acknowledgement, or a renewal of the lease, proves that nobody else owns the virtual broker.
pub const CERTAIN: Duration = Duration::from_secs(3);

/// A virtual broker that clients are served by.
pub struct Served {
    pub vb: Arc<Vb>,
    pub cluster: Arc<str>,
    pub counts: Counts,
    pub(crate) members: Mutex<Members<Arc<Connection>>>,
    pub(crate) locks: Mutex<Locks>,
    held: Mutex<Held<pull::Open>>,
    earlier_deadline: Notify,
    pub(crate) commits: Mutex<Commits>,
    first_commit: Notify,
    lanes: Arc<pull::Lanes>,
    delays: delay::Delays,
    halves: halves::Halves,
    pub(crate) rates: Rates,
    /// When this owner began, by the monotonic clock.
    since: Duration,
    /// When a renewal of the owner's lease was sent that succeeded later, in ms of the monotonic clock.
    renewed: AtomicU64,
    /// Everything that was made for clients, and the locks that they have, is there for good once this is acknowledged.
    made: AtomicU64,
    /// Answers that are owed.
    owed: Arc<AtomicUsize>,
    turn: AtomicU64,
    keys_made: AtomicU64,
    topics: Arc<watch::Sender<u64>>,
    known: Arc<known::Known>,
    ended: watch::Sender<bool>,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Served {
    /// Takes a virtual broker over and serves it. `cluster` is the name that clients know the cluster by.
    pub async fn open(
        cluster: Arc<str>,
        settings: VbSettings,
        logs: &dyn Logs,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Served>, Error> {
        let watch = Arc::new(upkeep::Watch::default());
        let vb = Vb::open(settings, logs, clock, watch.clone()).await?;
        let since = vb.now().at;
        let served = Arc::new(Served {
            cluster,
            counts: Counts::default(),
            members: Mutex::default(),
            locks: Mutex::default(),
            held: Mutex::default(),
            earlier_deadline: Notify::new(),
            commits: Mutex::default(),
            first_commit: Notify::new(),
            lanes: Arc::default(),
            delays: delay::Delays::default(),
            halves: halves::Halves::default(),
            rates: Rates::default(),
            since,
            renewed: AtomicU64::new(0),
            made: AtomicU64::new(0),
            owed: Arc::default(),
            turn: AtomicU64::new(0),
            keys_made: AtomicU64::new(0),
            topics: Arc::new(watch::Sender::new(0)),
            known: Arc::default(),
            ended: watch::Sender::new(false),
            tasks: Mutex::default(),
            vb,
        });
        watch.follow(&served);
        upkeep::begin(&served).await?;
        Ok(served)
    }

    /// What takes the requests of this virtual broker's listeners.
    pub fn door(self: &Arc<Self>) -> Arc<dyn Handler> {
        Arc::new(door::Door::new(self.clone()))
    }

    /// A renewal of the owner's lease, sent at this time of the monotonic clock, succeeded.
    pub fn confirmed(&self, sent_at: Duration) {
        self.renewed.fetch_max(sent_at.as_millis() as u64, Ordering::Relaxed);
    }

    /// Whether nobody else can own the virtual broker by now. If not, what is answered may be out of date.
    pub(crate) fn certain(&self, core: &Core, now: Now) -> bool {
        let renewed = Duration::from_millis(self.renewed.load(Ordering::Relaxed));
        now.at.saturating_sub(renewed.max(core.confirmed_at())) < CERTAIN
    }

    /// True once the log has ended and every held request was answered.
    pub fn ended(&self) -> watch::Receiver<bool> {
        self.ended.subscribe()
    }

    /// Counts changes of topics: a reason to register anew.
    pub fn topics_changed(&self) -> watch::Receiver<u64> {
        self.topics.subscribe()
    }

    /// All name servers that answer have the topics of this version of the registration; `u64::MAX` if none is to be
    /// waited for.
    pub fn topics_known(&self, version: u64) {
        self.known.set(version);
    }

    /// `then`, once name servers have the topics that there are now, too.
    pub(crate) fn once_known(
        &self,
        core: &Core,
        then: impl FnOnce(Outcome) + Send + 'static,
    ) -> impl FnOnce(Outcome) + Send + 'static {
        let (known, version) = (self.known.clone(), core.state().topics_version().counter);
        move |outcome| known.then(version, outcome, then)
    }

    /// All topics, as code 21 tells them.
    pub fn topic_table(&self) -> TopicTable {
        self.topics_as(|_, topic| Some(told(topic)))
    }

    /// Topics as name servers are told of them: with no more permission than this virtual broker gives, and without the one
    /// that clients find the way to a new topic by, where sending makes none.
    pub fn registration(&self) -> TopicTable {
        self.topics_as(|settings, topic| {
            if &*topic.name == topic::AUTO_CREATE && !settings.auto_create_topic {
                return None;
            }
            let both = perm::READ | perm::WRITE;
            // As Apache's: one that gives both takes nothing away from what a topic says.
            let given = if settings.permission & both == both { perm::ALL } else { settings.permission };
            Some(TopicConfig { perm: i32::from(topic.perm & given), ..told(topic) })
        })
    }

    fn topics_as(&self, told: impl Fn(&Settings, &Topic) -> Option<TopicConfig>) -> TopicTable {
        let core = self.vb.core();
        let version = core.state().topics_version();
        let settings = core.state().settings();
        TopicTable {
            data_version: DataVersion {
                state_version: self.vb.epoch() as i64,
                counter: version.counter as i64,
                timestamp: version.changed_at,
            },
            topic_config_table: core
                .state()
                .topics()
                .filter_map(|topic| Some((topic.name.to_string(), told(settings, topic)?)))
                .collect(),
        }
    }

    /// Hands over what waits, in order; then the virtual broker is nobody's until it is opened again.
    pub async fn close(self: &Arc<Self>) -> Result<(), Error> {
        upkeep::finish(self).await;
        self.vb.close().await
    }

    /// The configuration of a group, made if that is allowed.
    pub(crate) fn group(&self, core: &mut Core, name: &str, now: Now) -> Result<Arc<Group>, Refusal> {
        if let Some(group) = core.state().group(name) {
            return Ok(group.clone());
        }
        if let Some(why) = topic::wrong_group(name) {
            return refuse(response::SYSTEM_ERROR, why);
        }
        if !core.state().settings().auto_create_group {
            let remark = format!("subscription group [{name}] does not exist");
            return refuse(response::SUBSCRIPTION_GROUP_NOT_EXIST, remark);
        }
        let most = core.state().settings().max_groups;
        if core.state().groups().len() >= most {
            let remark = format!("there are {most} subscription groups already, the setting maxGroups");
            return refuse(response::SYSTEM_ERROR, remark);
        }
        let staged = core.stage(&[Record::Change(&Change::Group(Group::new(name)))], now)?;
        self.made.fetch_max(staged.end, Ordering::Relaxed);
        match core.state().group(name) {
            Some(group) => Ok(group.clone()),
            None => refuse(response::SYSTEM_ERROR, "the group that was made is not there"),
        }
    }

    /// Whether a topic exists for this virtual broker's own sake: RocketMQ's, and those that are called after it and the
    /// cluster.
    pub(crate) fn is_system(&self, name: &str) -> bool {
        let replies = || name.strip_suffix(topic::REPLY_SUFFIX) == Some(&*self.cluster);
        topic::is_system(name) || name == &*self.cluster || name == &*self.vb.name || replies()
    }

    /// Runs what changes topics or what is told of them, and tells those who register topics: at once, before it is
    /// stored. A registration is void with its epoch should the log end first.
    pub(crate) fn topic_made<T>(
        &self,
        core: &mut Core,
        make: impl FnOnce(&mut Core) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let before = core.state().topics_version();
        let made = make(core)?;
        if core.state().topics_version() != before {
            self.made.fetch_max(core.staged(), Ordering::Relaxed);
            self.topics.send_modify(|count| *count += 1);
        }
        Ok(made)
    }

    /// Whether something that was made for a client is not acknowledged yet.
    fn unsettled(&self, core: &Core) -> bool {
        core.acknowledged() < self.made.load(Ordering::Relaxed)
    }

    /// For how long this owner has served.
    pub(crate) fn age(&self, now: Now) -> Duration {
        now.at.saturating_sub(self.since)
    }

    /// Whether the members and locks of the owner before this one still count.
    pub(crate) fn remembers(&self) -> bool {
        self.vb.now().at.saturating_sub(self.since) < heartbeat::REMEMBERED
    }

    /// Takes a commit that nobody waits for.
    pub(crate) fn commit_later(&self, group: &Arc<str>, queue: Queue, offset: i64) {
        let mut commits = self.commits.lock();
        if commits.add(&self.vb.core(), group, queue, offset) {
            self.first_commit.notify_one();
        }
    }

    /// A queue for a message that names none: each in its turn.
    fn any_queue(&self, topic: &Topic) -> u16 {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        (turn % u64::from(topic.write_queues.max(1))) as u16
    }

    fn unique_key(&self, now: Now) -> String {
        let number = self.keys_made.fetch_add(1, Ordering::Relaxed);
        properties::unique_key(self.vb.id, self.vb.epoch(), number, now.wall)
    }
}

pub(crate) fn told(topic: &Topic) -> TopicConfig {
    TopicConfig {
        attributes: topic.attributes.clone(),
        order: topic.order,
        perm: i32::from(topic.perm),
        read_queue_nums: i32::from(topic.read_queues),
        topic_filter_type: "SINGLE_TAG".into(),
        topic_name: topic.name.to_string(),
        topic_sys_flag: topic.sys_flag as i32,
        write_queue_nums: i32::from(topic.write_queues),
    }
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served").field("vb", &self.vb.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
