//! What a served virtual broker does by itself: from its first topics to its last answers.

use std::future::Future;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::held::Queue;
use super::{Served, delay, halves, heartbeat, pull};
use crate::error::Error;
use crate::members::Changed;
use crate::state::topic::{self, MAX_QUEUES, perm};
use crate::state::{Change, DelayLevels, Settings, Topic};
use crate::vb::{Effect, Outcome, Record, Vb, Watcher};

/// How often it is looked for clients that say nothing any more.
const SWEEP: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(100);

/// Passes on what the virtual broker tells.
#[derive(Default)]
pub(super) struct Watch {
    served: OnceLock<Weak<Served>>,
}

impl Watch {
    pub fn follow(&self, served: &Arc<Served>) {
        // There is one of it for each.
        let _first = self.served.set(Arc::downgrade(served));
    }

    fn served(&self) -> Option<Arc<Served>> {
        self.served.get().and_then(Weak::upgrade)
    }
}

impl Watcher for Watch {
    fn visible(&self, vb: &Arc<Vb>, queues: &[Queue]) {
        let Some(served) = self.served() else { return };
        pull::arrived(&served, queues);
        let delay = vb.core().state().delay_topic();
        for (_, queue) in queues.iter().filter(|(topic, _)| Some(*topic) == delay) {
            served.delays.arrived(*queue);
        }
    }

    fn ended(&self, _vb: &Arc<Vb>) {
        if let Some(served) = self.served() {
            served.abandon();
        }
    }
}

/// Makes what every virtual broker has, and begins its tasks.
pub(super) async fn begin(served: &Arc<Served>) -> Result<(), Error> {
    found(served).await?;
    remember_locks(served);
    start(served, deadlines(served.clone()));
    start(served, offsets(served.clone()));
    start(served, silence(served.clone()));
    start(served, forget(served.clone()));
    for queue in 0..DelayLevels::MOST as u16 {
        start(served, delay::run(served.clone(), queue));
    }
    start(served, halves::run(served.clone()));
    start(served, crate::admin::watch(served.clone()));
    Ok(())
}

fn start(served: &Served, task: impl Future<Output = ()> + Send + 'static) {
    served.tasks.lock().push(tokio::spawn(task).abort_handle());
}

impl Served {
    /// Stops working for clients: held pulls are answered, tasks end. Called when the log has ended.
    pub fn abandon(self: &Arc<Self>) {
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
        pull::ended(self);
        self.ended.send_replace(true);
    }
}

/// The topics that exist for the broker's sake.
async fn found(served: &Served) -> Result<(), Error> {
    let now = served.vb.now();
    let (ended, end) = oneshot::channel();
    {
        let mut core = served.vb.core();
        let missing: Vec<_> = system_topics(served, core.state().settings())
            .into_iter()
            .filter(|(name, ..)| core.state().topic(name).is_none())
            .collect();
        for (name, queues, perm) in missing {
            let topic = Topic::new(core.state().next_topic(), &name, queues, perm);
            core.stage(&[Record::Change(&Change::Topic(topic))], now)?;
        }
        core.stage(&[Record::Mark], now)?;
        core.then(
            Effect::call(move |outcome| {
                // Whoever waited is gone.
                let _unheard = ended.send(outcome);
            }),
            now,
        );
    }
    served.vb.drive();
    match end.await {
        Ok(Outcome::Acknowledged) => Ok(()),
        _ => Err(crate::vb::Refused::Fenced.into()),
    }
}

fn system_topics(served: &Served, settings: &Settings) -> Vec<(String, u16, u8)> {
    let auto = settings.default_queues;
    let system = |name: &str| {
        let (queues, perm) = match name {
            topic::AUTO_CREATE => (auto.clamp(1, MAX_QUEUES), perm::ALL),
            topic::DELAY => (DelayLevels::MOST as u16, perm::READ | perm::WRITE),
            topic::BENCHMARK => (1_024, perm::READ | perm::WRITE),
            _ => (1, perm::READ | perm::WRITE),
        };
        (name.to_owned(), queues, perm)
    };
    let mut topics: Vec<_> = topic::SYSTEM.iter().map(|name| system(name)).collect();
    topics.extend(settings.trace_topic.then(|| system(topic::TRACE)));
    let replies = format!("{}{}", served.cluster, topic::REPLY_SUFFIX);
    let (both, all) = (perm::READ | perm::WRITE, perm::ALL);
    for (name, queues, perm) in
        [(&*served.cluster, 16, all), (&*served.vb.name, 1, all), (&*replies, 1, both)]
    {
        if topic::wrong_name(name).is_none() {
            topics.push((name.to_owned(), queues, perm));
        }
    }
    topics
}

/// Locks that were recorded hold as if they were renewed now: their holders find out by asking.
fn remember_locks(served: &Served) {
    let now = served.vb.now().at;
    let core = served.vb.core();
    let mut locks = served.locks.lock();
    for (group, remembered) in core.state().all_remembered() {
        for (queue, client) in &remembered.locks {
            locks.lock(group, client, &[*queue], now);
        }
    }
}

/// Ends pulls whose time is over.
async fn deadlines(served: Arc<Served>) {
    loop {
        let earlier = served.earlier_deadline.notified();
        let (over, next) = {
            let mut held = served.held.lock();
            (held.expired(served.vb.now().at), held.next_deadline())
        };
        if !over.is_empty() {
            pull::again(&served, over);
        }
        match next {
            Some(next) => {
                let wait = next.saturating_sub(served.vb.now().at);
                tokio::select! { biased; () = earlier => {}, () = sleep(wait) => {} }
            }
            None => earlier.await,
        }
    }
}

/// Hands commits over a little after the first of them.
async fn offsets(served: Arc<Served>) {
    loop {
        served.first_commit.notified().await;
        let wait = served.vb.core().state().settings().offset_delay;
        sleep(wait.duration()).await;
        while !flush(&served) {
            sleep(AGAIN).await;
        }
    }
}

/// Whether everything was taken.
fn flush(served: &Served) -> bool {
    let flushed = {
        let mut commits = served.commits.lock();
        let mut core = served.vb.core();
        commits.flush(&mut core, served.vb.now())
    };
    served.vb.drive();
    match flushed {
        Ok(()) | Err(crate::vb::Refused::Fenced) => true,
        Err(refused) => {
            tracing::debug!("offsets wait: {refused}");
            false
        }
    }
}

/// Closes connections by which nothing is heard any more, whose clients leave with them, and takes back locks.
async fn silence(served: Arc<Served>) {
    loop {
        sleep(SWEEP).await;
        let Some(before) = served.vb.now().at.checked_sub(heartbeat::SILENT) else { continue };
        let silent = served.members.lock().silent(before);
        for (channel, connection) in silent {
            tracing::info!(
                "client at {} has been silent for long: its connection is closed",
                connection.peer()
            );
            connection.close();
            heartbeat::part(&served, served.vb.now(), |members| members.closed(channel));
        }
        super::locks::sweep(&served);
        served.vb.drive();
    }
}

/// Members that only the owner before this one knew are gone if they were not heard of in time.
async fn forget(served: Arc<Served>) {
    sleep(heartbeat::REMEMBERED).await;
    heartbeat::part(&served, served.vb.now(), |members| {
        let core = served.vb.core();
        let missing =
            |group: &str, client: &str| !members.consumers(group).is_some_and(|g| g.has_client(client));
        let all = core.state().all_remembered();
        let known = all.flat_map(|(group, known)| known.members.iter().map(move |client| (group, client)));
        let gone = known.filter(|(group, client)| missing(group, client));
        let left = |(group, client): (&Arc<str>, &Arc<str>)| Changed {
            group: group.clone(),
            left: Some(client.clone()),
            rebalance: true,
        };
        gone.map(left).collect::<Vec<_>>()
    });
    served.vb.drive();
}

/// Hands over what waits and waits until it is acknowledged; then answers whoever is held.
pub(super) async fn finish(served: &Arc<Served>) {
    let (sent, done) = oneshot::channel();
    {
        let now = served.vb.now();
        let mut commits = served.commits.lock();
        let mut core = served.vb.core();
        let taken = commits.flush(&mut core, now).and_then(|()| core.stage(&[Record::Mark], now));
        match taken {
            Ok(_) => core.then(
                Effect::call(move |outcome| {
                    let _unheard = sent.send(outcome);
                }),
                now,
            ),
            Err(refused) => {
                // Nobody will say that it is done.
                drop(sent);
                tracing::warn!("the last offsets were not stored: {refused}");
            }
        }
    }
    served.vb.drive();
    // Nothing more can be done if the log has ended, or takes no more.
    let _outcome = done.await;
    served.abandon();
}
