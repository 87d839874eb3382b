//! Which virtual brokers this process serves, from claim to end.
//!
//! * [`policy`] — which ones it should claim: the one place that decides it.
//! * [`claims`] — claims in metadata, on the process's lease.
//! * [`tenure`] — one virtual broker: taken over, served, given up.
//! * [`front`] — what requests come in by, and who is told where: [`doors`] in the product.
//! * [`clocks`] — whether this machine's clock is to be trusted.
//! * [`announce`] — what name servers are told.
//! * [`metrics`] — what Prometheus is told.
//!
//! Claims keep brokers apart in peace; they exclude nobody. Whoever opens a virtual broker's log fences everybody
//! before him: that alone decides who owns it.

pub mod announce;
mod claims;
mod clocks;
mod doors;
pub mod front;
pub mod metrics;
pub mod policy;
mod tenure;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ledger::log::Logs;
use metadata::schema::Claim;
use metadata::{Revision, Scope, Store};
use net::http::Response;
use parking_lot::Mutex;
use protocol::body::advertise::Rules;
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, timeout};

use self::claims::{Claims, Taken};
use self::clocks::Judged;
use self::doors::Sockets;
use self::front::Front;
use self::policy::Outage;
use self::tenure::{Left, Tenure, Tenures};
use crate::error::Error;
use crate::serve::Served;
use crate::state::Settings as Known;
use crate::vb::clock::Clock;
use crate::vb::{Limits, VbSettings};
use ledger::log::LogName;

/// Virtual brokers listen on ports that are so far apart.
pub const PORTS_APART: u32 = 10;
/// Metadata is looked at again after this long, whatever watches said.
const LOOK: Duration = Duration::from_secs(1);
/// Who has not seen metadata for so long cannot take anything over.
const STALE: Duration = Duration::from_secs(5);
/// How often renewals of the lease are passed on.
const CONFIRM: Duration = Duration::from_millis(250);
/// What one process does at its end takes no longer than this.
const END: Duration = Duration::from_millis(900);

/// What a broker process runs with.
#[derive(Clone)]
pub struct Settings {
    /// The cluster as clients know it.
    pub cluster: Arc<str>,
    /// How many virtual brokers there are, if nobody has decided it yet.
    pub vbs: u32,
    /// The interface on which to listen.
    pub host: String,
    /// Virtual broker *i* listens on this + 10 *i*. 0: on any free port, for tests.
    pub base_port: u16,
    /// Where clients are told to go, and clients of some networks.
    pub advertise: String,
    pub rules: Rules,
    /// What message ids say.
    pub store_host: IpAddr,
    pub namesrvs: Vec<String>,
    pub lease: Duration,
    pub limits: Limits,
    pub known: Known,
    pub net: net::remoting::Settings,
    /// Where this process runs, in words that another one here would say too and one elsewhere would not. Empty: not known.
    pub machine: String,
}

impl Settings {
    /// What this process is called: where it is reached.
    pub fn name(&self) -> String {
        format!("{}:{}", self.advertise, self.base_port)
    }

    fn port(&self, vb: u32) -> u16 {
        if self.base_port == 0 {
            return 0;
        }
        u16::try_from(u32::from(self.base_port) + PORTS_APART * vb).unwrap_or(u16::MAX)
    }

    fn vb(&self, vb: u32, port: u16) -> Result<VbSettings, Error> {
        Ok(VbSettings {
            id: vb,
            name: vb_name(vb).into(),
            address: SocketAddr::new(self.store_host, port),
            log: LogName::new(&format!("vb-{vb}"))?,
            checkpoints: LogName::new(&format!("vb-{vb}-checkpoint"))?,
            limits: self.limits,
            settings: self.known.clone(),
        })
    }
}

/// The brokerName that clients know.
pub fn vb_name(vb: u32) -> String {
    format!("broker-{vb}")
}

/// What all tasks of a broker process share.
struct Shared {
    settings: Settings,
    claims: Claims,
    logs: Arc<dyn Logs>,
    clock: Arc<Judged>,
    front: Arc<dyn Front>,
    serving: Mutex<BTreeMap<u32, Serving>>,
    /// Tells tenures to end: gracefully, or because their virtual broker is another's.
    leave: watch::Sender<Leave>,
    /// A tenure has begun or ended.
    changed: Notify,
    /// What the last look at metadata came to.
    looked: Mutex<Looked>,
}

#[derive(Clone, Default)]
struct Looked {
    /// The last one that succeeded.
    at: Option<Instant>,
    /// What is ours to serve.
    claimed: usize,
    /// What nobody has, as far as we know: others cannot be said to serve it.
    free: usize,
    /// Who says that he is reached where we are.
    namesake: Option<String>,
}

/// A virtual broker that is served now.
#[derive(Clone)]
pub struct Serving {
    pub served: Arc<Served>,
    pub port: u16,
}

#[derive(Clone, Debug, Default)]
struct Leave {
    all: bool,
    lost: BTreeSet<u32>,
}

/// A broker process at work. Dropped, it is as dead as a killed process.
pub struct Broker {
    shared: Arc<Shared>,
    running: Mutex<Option<JoinHandle<()>>>,
    comparing: AbortHandle,
}

impl Broker {
    /// Begins to claim what nobody owns. Returns at once; see [`Broker::ready`].
    pub async fn start(
        settings: Settings,
        metadata: (Arc<dyn Store>, Scope),
        logs: Arc<dyn Logs>,
        clock: Arc<dyn Clock>,
        token: u64,
    ) -> Result<Broker, Error> {
        let front = Arc::new(Sockets::new(&settings));
        Broker::behind(front, settings, metadata, logs, clock, token).await
    }

    /// The same, with another front than sockets.
    pub async fn behind(
        front: Arc<dyn Front>,
        settings: Settings,
        (store, scope): (Arc<dyn Store>, Scope),
        logs: Arc<dyn Logs>,
        clock: Arc<dyn Clock>,
        token: u64,
    ) -> Result<Broker, Error> {
        let all = claims::virtual_brokers(&*store, &scope, settings.vbs).await?;
        let me = Claim { broker: settings.name(), token, machine: settings.machine.clone() };
        let claims = Claims::new(store.clone(), scope.clone(), me, settings.lease);
        if let Some(vb) = claims.must_be_alone().await? {
            // If the earlier process lives, it has the ports.
            drop(front.bind(vb).await?);
        }
        let clock = Arc::new(Judged::new(clock));
        let me = format!("broker-{}", settings.name());
        let compare = clock.clone().keep(store, scope, me).await;
        let shared = Arc::new(Shared {
            settings,
            claims,
            logs,
            clock,
            front,
            serving: Mutex::default(),
            leave: watch::Sender::new(Leave::default()),
            changed: Notify::new(),
            looked: Mutex::default(),
        });
        let comparing = tokio::spawn(compare).abort_handle();
        let running = Mutex::new(Some(tokio::spawn(run(shared.clone(), all))));
        Ok(Broker { shared, running, comparing })
    }

    pub fn serving(&self) -> BTreeMap<u32, Serving> {
        self.shared.serving.lock().clone()
    }

    /// Waits until it serves `count` virtual brokers, and every name server that answers knows.
    pub async fn ready(&self, count: usize) {
        while self.shared.serving.lock().len() < count {
            self.shared.changed.notified().await;
        }
        self.shared.front.told(count).await;
    }

    /// Gives everything up in order: what is held is answered, logs are sealed, name servers are told, claims go last.
    pub async fn stop(&self) {
        self.shared.leave.send_modify(|leave| leave.all = true);
        let running = self.running.lock().take();
        if let Some(running) = running {
            let abort = running.abort_handle();
            if timeout(END * 2, running).await.is_err() {
                tracing::warn!("not everything could be given up in time; others recover it");
                abort.abort();
            }
        }
    }

    /// Whether it serves everything that it has claimed, or, with nothing to serve, could take over: metadata answers.
    /// A hot standby is ready. The text says which, or what is missing.
    pub fn readiness(&self) -> Result<String, String> {
        let (serving, looked) = (self.shared.serving.lock().len(), self.shared.looked.lock().clone());
        if self.shared.leave.borrow().all {
            return Err("stopping".to_owned());
        }
        if let Some(namesake) = looked.namesake {
            return Err(namesake);
        }
        if serving < looked.claimed {
            return Err(format!("taking over: {serving} of {} virtual brokers are served", looked.claimed));
        }
        match looked.at {
            _ if serving > 0 => Ok(format!("serving {serving} virtual brokers")),
            Some(_) if looked.free > 0 => {
                Err(format!("{} virtual brokers are claimed by nobody", looked.free))
            }
            Some(at) if at.elapsed() < STALE => {
                Ok("standing by: others serve all virtual brokers".to_owned())
            }
            _ => Err("metadata does not answer: nothing can be taken over".to_owned()),
        }
    }

    /// `/health`: this process is at work. `/ready`: see [`Broker::readiness`]. `/metrics`.
    pub fn http(&self, path: &str) -> Response {
        match path {
            "/health" => Response::text(200, "ok\n"),
            "/ready" => match self.readiness() {
                Ok(text) => Response::text(200, format!("ok, {text}\n")),
                Err(text) => Response::text(503, format!("not ready, {text}\n")),
            },
            "/metrics" => Response::metrics(metrics::text(&self.serving(), self.shared.clock.said())),
            other => Response::not_found(other),
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.comparing.abort();
        if let Some(running) = self.running.get_mut().take() {
            running.abort();
        }
    }
}

/// Claims, starts tenures and sees them end, until it is told to leave.
async fn run(shared: Arc<Shared>, all: BTreeSet<u32>) {
    let mut tenures = Tenures::default();
    let (mut mine, mut outage) = (BTreeSet::new(), Outage::default());
    let mut leave = shared.leave.subscribe();
    let mut confirm = tokio::time::interval(CONFIRM);
    while !leave.borrow().all {
        look(&shared, &all, &mut mine, &mut outage, &mut tenures).await;
        let again = tokio::time::sleep(LOOK);
        tokio::pin!(again);
        loop {
            tokio::select! {
                biased;
                () = told_to_leave(&mut leave) => break,
                Some(ended) = tenures.ended() => {
                    settle(&shared, &mut mine, ended).await;
                    break;
                }
                () = shared.claims.changed() => break,
                _ = confirm.tick() => {
                    shared.review_clock();
                    pass_on(&shared);
                }
                () = &mut again => break,
            }
        }
    }
    while let Some(ended) = tenures.ended().await {
        settle(&shared, &mut mine, ended).await;
    }
    shared.front.unregister_all().await;
    shared.claims.give_up().await;
}

async fn told_to_leave(leave: &mut watch::Receiver<Leave>) {
    // A broker that is gone leaves, too.
    let _ = leave.wait_for(|leave| leave.all).await;
}

/// One look at metadata, and what follows from it.
async fn look(
    shared: &Arc<Shared>,
    all: &BTreeSet<u32>,
    mine: &mut BTreeSet<u32>,
    outage: &mut Outage,
    tenures: &mut Tenures,
) {
    let (began, lease) = (Instant::now(), shared.settings.lease);
    let looked = shared.claims.look().await;
    let at = shared.clock.now().at;
    outage.looked(at, began.elapsed(), looked.is_err(), lease);
    let now = match looked {
        Ok(now) => now,
        // Without metadata nothing changes hands, and what is served goes on.
        Err(error) => return tracing::warn!(%error, "claims cannot be read; trying again"),
    };
    let next = policy::next(all, &now, mine, shared.claims.me(), outage.is_past(at, lease));
    for vb in next.lost {
        shared.step_down(vb, "another broker has claimed it");
    }
    for (vb, instead_of) in next.claim {
        claim(shared, vb, instead_of, mine, tenures).await;
    }
    let me = shared.claims.me();
    let others = |vb: &u32| now.get(vb).is_some_and(|standing| !me.succeeds(&standing.claim));
    let free = all.iter().filter(|vb| !mine.contains(vb) && !others(vb)).count();
    shared.looked(next.namesake, mine.len(), free);
}

async fn claim(
    shared: &Arc<Shared>,
    vb: u32,
    instead_of: Option<Revision>,
    mine: &mut BTreeSet<u32>,
    tenures: &mut Tenures,
) {
    // First of all: who cannot serve it leaves it to others, and who has its ports is the only one of his name here.
    let bound = match mine.contains(&vb) {
        true => None,
        false => match shared.front.bind(vb).await {
            Ok(bound) => Some(bound),
            Err(error) => return tracing::warn!(vb, %error, "it cannot be served; trying again"),
        },
    };
    let held = shared.serving.lock().get(&vb).map(|one| one.served.vb.epoch());
    match shared.claims.take(vb, instead_of, held).await {
        Ok(Taken::Ours) => {
            if let Some(bound) = bound {
                mine.insert(vb);
                shared.leave.send_modify(|leave| leave.lost.retain(|lost| *lost != vb));
                tenures.begin(Tenure::new(shared.clone(), vb), bound);
            }
        }
        Ok(Taken::Not) => {}
        // A log that is idle would not say so. Once it is given up, it is as free to us as to others.
        Ok(Taken::Robbed) => shared.step_down(vb, "another broker has owned it meanwhile"),
        Err(error) => tracing::warn!(vb, %error, "it cannot be claimed; trying again"),
    }
}

/// A tenure has ended: its claim goes, so that others may try.
async fn settle(shared: &Shared, mine: &mut BTreeSet<u32>, (vb, left): (u32, Left)) {
    mine.remove(&vb);
    {
        let mut looked = shared.looked.lock();
        (looked.claimed, looked.free) = (mine.len(), looked.free + 1);
    }
    shared.leave.send_modify(|leave| leave.lost.retain(|lost| *lost != vb));
    shared.changed.notify_one();
    match left {
        Left::GivenUp => tracing::info!(vb, "given up"),
        Left::Slow => tracing::warn!(vb, "not given up in order; whoever serves it next recovers it"),
        Left::Lost => tracing::warn!(vb, "lost to another broker"),
        Left::Failed(error @ Error::Bug(_)) => {
            tracing::error!(vb, %error, "its task has ended; trying again")
        }
        Left::Failed(error) => tracing::warn!(vb, %error, "cannot be served; trying again"),
    }
    shared.claims.release(vb).await;
}

impl Shared {
    /// Ends its tenure, which has been told once already, perhaps.
    fn step_down(&self, vb: u32, why: &str) {
        if self.leave.send_if_modified(|leave| leave.lost.insert(vb)) {
            tracing::warn!(vb, "{why}: stepping down");
        }
    }

    /// A look at metadata has succeeded.
    fn looked(&self, namesake: Option<Claim>, claimed: usize, free: usize) {
        let namesake = namesake.map(|other| claims::namesake(self.claims.me(), &other));
        let mut looked = self.looked.lock();
        (looked.at, looked.claimed, looked.free) = (Some(Instant::now()), claimed, free);
        if let Some(text) = namesake.as_ref().filter(|_| looked.namesake != namesake) {
            tracing::error!("{text}; until then nothing more is claimed here");
        }
        looked.namesake = namesake;
    }

    fn review_clock(&self) {
        let serving: Vec<_> = self.serving.lock().values().map(|one| one.served.clone()).collect();
        if let Some(newest) = serving.iter().map(|served| served.vb.core().last_time()).max() {
            self.clock.review(newest);
        }
    }
}

/// What a renewal of the lease proves: nobody else has claimed what is ours before it was sent.
fn pass_on(shared: &Shared) {
    let Some(ago) = shared.claims.renewed_ago() else { return };
    let sent = shared.clock.now().at.saturating_sub(ago);
    for one in shared.serving.lock().values() {
        one.served.confirmed(sent);
    }
}

#[cfg(test)]
mod tests;
