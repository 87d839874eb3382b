//! The network between clients and bookies: one connection per pair, as TCP would have it.
//!
//! Requests of one connection arrive in order, and so do answers; a connection can be slow, stall, be cut in one
//! direction, and break. When it breaks, what was under way may be lost, or arrive much later, after what a new
//! connection has carried: a closed socket's last bytes can wait in a queue.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use net::{Bookies, Failure, Replies, Reply, ReplyTo, Service};
use parking_lot::Mutex;
use protocol::BookieId;
use protocol::bookie::Request;
use tokio::time::Instant;

use crate::agenda::Agenda;
use crate::chance::Chance;
use crate::judge::Judge;
use crate::judge::wire::Arrival;
use crate::process::{Process, ProcessId};
use crate::trace::{Event, Trace};

/// How the network behaves in this run.
#[derive(Clone, Debug)]
pub struct Weather {
    /// Microseconds one way.
    pub latency_us: (u64, u64),
    /// How likely one message meets a delay of up to `spike_ms`.
    pub spikes: f64,
    pub spike_ms: u64,
    /// How likely one message breaks its connection.
    pub resets: f64,
    /// How likely a request comes twice, the second time later: a client that sends again what it heard nothing of.
    pub duplicates: f64,
    /// When the transport gives up on a request.
    pub deadline: Duration,
}

pub struct Network {
    agenda: Arc<Agenda>,
    chance: Chance,
    judge: Arc<Judge>,
    trace: Arc<Trace>,
    state: Mutex<State>,
}

struct State {
    weather: Weather,
    bookies: BTreeMap<BookieId, Listener>,
    links: BTreeMap<(ProcessId, BookieId), Link>,
    /// Nothing passes in this direction.
    cut: BTreeSet<(End, End)>,
    calls: u64,
    /// What happens as soon as a bookie has answered.
    traps: BTreeMap<BookieId, Trap>,
}

struct Trap {
    /// Only an answer to a fencing read springs it.
    fencing: bool,
    then: Box<dyn FnOnce() + Send>,
}

/// One end of a connection, as partitions see it: a restarted bookie is at the same place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    Client(ProcessId),
    Bookie(BookieId),
}

#[derive(Clone)]
struct Listener {
    process: Arc<Process>,
    service: Arc<dyn Service>,
    /// What it may use.
    memory: u64,
}

/// A connection from one process to one bookie.
#[derive(Default)]
struct Link {
    /// Grows when the connection breaks.
    generation: u64,
    /// It has broken, and the client will hear of it in a moment.
    breaking: bool,
    /// Nothing sent later may arrive earlier.
    last_request: Option<Instant>,
    last_answer: Option<Instant>,
    /// What waits for a cut to heal, in order.
    held_requests: VecDeque<Parcel>,
    held_answers: VecDeque<(u64, Reply)>,
    /// Calls without an answer.
    waiting: BTreeMap<u64, ReplyTo>,
}

struct Parcel {
    call: u64,
    generation: u64,
    request: Request,
}

/// A process's way to all bookies.
pub struct Endpoint {
    network: Arc<Network>,
    process: Arc<Process>,
}

type Pair = (ProcessId, BookieId);

fn ends(pair: &Pair) -> (End, End) {
    (End::Client(pair.0), End::Bookie(pair.1.clone()))
}

impl Network {
    pub fn new(
        weather: Weather,
        agenda: Arc<Agenda>,
        chance: Chance,
        judge: Arc<Judge>,
        trace: Arc<Trace>,
    ) -> Arc<Network> {
        let state = State {
            weather,
            bookies: BTreeMap::new(),
            links: BTreeMap::new(),
            cut: BTreeSet::new(),
            calls: 0,
            traps: BTreeMap::new(),
        };
        Arc::new(Network { agenda, chance, judge, trace, state: Mutex::new(state) })
    }

    pub fn endpoint(self: &Arc<Network>, process: &Arc<Process>) -> Arc<Endpoint> {
        Arc::new(Endpoint { network: self.clone(), process: process.clone() })
    }

    /// A bookie listens, until its process dies or another takes the place.
    pub fn listen(
        self: &Arc<Network>,
        bookie: &BookieId,
        process: &Arc<Process>,
        service: Arc<dyn Service>,
        memory: u64,
    ) {
        let listener = Listener { process: process.clone(), service, memory };
        self.state.lock().bookies.insert(bookie.clone(), listener);
    }

    /// Nobody listens any more for this process.
    pub fn hang_up(self: &Arc<Network>, process: &Process) {
        let mut gone = Vec::new();
        self.state.lock().bookies.retain(|bookie, listener| {
            let stays = listener.process.id != process.id;
            if !stays {
                gone.push(bookie.clone());
            }
            stays
        });
        self.break_links(|(_, to)| gone.contains(to));
    }

    pub fn set_weather(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut self.state.lock().weather);
    }

    /// Does something right after the bookie's next answer: before anything that it still has to do.
    pub fn after_answer(&self, bookie: &BookieId, fencing: bool, then: impl FnOnce() + Send + 'static) {
        self.state.lock().traps.insert(bookie.clone(), Trap { fencing, then: Box::new(then) });
    }

    /// Forgets everybody: a world that is over must not be held by its own connections.
    pub fn clear(&self) {
        let mut state = self.state.lock();
        let gone = (
            std::mem::take(&mut state.bookies),
            std::mem::take(&mut state.links),
            std::mem::take(&mut state.traps),
        );
        drop(state);
        drop(gone);
    }

    pub fn remove_traps(&self) {
        self.state.lock().traps.clear();
    }

    fn spring(&self, bookie: &BookieId, arrival: &Arrival) {
        let mut state = self.state.lock();
        let springs = |trap: &Trap| !trap.fencing || arrival.is_fencing();
        if !state.traps.get(bookie).is_some_and(springs) {
            return;
        }
        let trap = state.traps.remove(bookie);
        drop(state);
        if let Some(trap) = trap {
            (trap.then)();
        }
    }

    pub fn cut(&self, from: End, to: End) {
        self.state.lock().cut.insert((from, to));
    }

    /// Ends all cuts; what they held goes on its way.
    pub fn mend(self: &Arc<Network>) {
        let pairs: Vec<Pair> = {
            let mut state = self.state.lock();
            state.cut.clear();
            state.links.keys().cloned().collect()
        };
        pairs.iter().for_each(|pair| self.release(pair));
    }

    /// Ends the cuts between two, in both directions.
    pub fn mend_between(self: &Arc<Network>, client: &Process, bookie: &BookieId) {
        let pair = (client.id, bookie.clone());
        let (from, to) = ends(&pair);
        let mut state = self.state.lock();
        state.cut.remove(&(from.clone(), to.clone()));
        state.cut.remove(&(to, from));
        drop(state);
        self.release(&pair);
    }

    /// Nothing passes from the client to the bookie, until mended.
    pub fn cut_requests(&self, client: &Process, bookie: &BookieId) {
        let (from, to) = ends(&(client.id, bookie.clone()));
        self.cut(from, to);
    }

    /// Nothing passes from the bookie to the client, until mended.
    pub fn cut_answers(&self, client: &Process, bookie: &BookieId) {
        let (from, to) = ends(&(client.id, bookie.clone()));
        self.cut(to, from);
    }

    /// Breaks a connection; what waits for a cut to heal is lost for certain.
    pub fn lose_held(self: &Arc<Network>, client: &Process, bookie: &BookieId) {
        let pair = (client.id, bookie.clone());
        if let Some(link) = self.state.lock().links.get_mut(&pair) {
            link.held_requests.clear();
        }
        self.break_links(|other| *other == pair);
    }

    /// Sends on its way what a cut held, as far as no cut holds it again.
    fn release(self: &Arc<Network>, pair: &Pair) {
        let (requests, answers) = {
            let mut state = self.state.lock();
            let Some(link) = state.links.get_mut(pair) else { return };
            (std::mem::take(&mut link.held_requests), std::mem::take(&mut link.held_answers))
        };
        requests.into_iter().for_each(|parcel| self.ship(pair, parcel));
        answers.into_iter().for_each(|(call, reply)| self.send_back(pair, call, reply));
    }

    /// Breaks connections: each pending call fails, and what is under way may be lost or come late.
    pub fn break_links(self: &Arc<Network>, which: impl Fn(&Pair) -> bool) {
        let mut state = self.state.lock();
        let mut broken = Vec::new();
        for (pair, link) in state.links.iter_mut().filter(|(pair, link)| which(pair) && !link.breaking) {
            link.breaking = true;
            broken.push(pair.clone());
        }
        drop(state);
        let (network, delay) = (self.clone(), self.chance.micros(0..2000));
        self.agenda.after(delay, move || broken.iter().for_each(|pair| network.tell_broken(pair)));
    }

    fn tell_broken(&self, pair: &Pair) {
        let mut state = self.state.lock();
        let Some(link) = state.links.get_mut(pair) else { return };
        link.generation += 1;
        link.breaking = false;
        link.last_request = None;
        link.last_answer = None;
        link.held_answers.clear();
        let failed = std::mem::take(&mut link.waiting);
        drop(state);
        failed.into_values().for_each(|reply| reply.answer(Err(Failure::Unreachable)));
    }

    /// When something sent now arrives, not before what was sent earlier.
    fn arrival(&self, weather: &Weather, last: &mut Option<Instant>) -> Instant {
        let mut delay = self.chance.micros(weather.latency_us.0..weather.latency_us.1);
        if self.chance.hits(weather.spikes) {
            delay += self.chance.millis(0..weather.spike_ms);
        }
        let when = last.map_or(Instant::now(), |last| last.max(Instant::now())).max(Instant::now() + delay);
        *last = Some(when);
        when
    }

    fn send(self: &Arc<Network>, from: &Arc<Process>, to: &BookieId, request: Request, reply: ReplyTo) {
        if from.is_dead() {
            return;
        }
        self.judge.hear(|model| model.sent(to, &request));
        let pair = (from.id, to.clone());
        let (parcel, deadline, breaks) = {
            let mut state = self.state.lock();
            state.calls += 1;
            let call = state.calls;
            let deadline = state.weather.deadline;
            let breaks = self.chance.hits(state.weather.resets);
            let link = state.links.entry(pair.clone()).or_default();
            link.waiting.insert(call, reply);
            (Parcel { call, generation: link.generation, request }, deadline, breaks)
        };
        self.trace.record(&Event::Sent { from: from.id, to, call: parcel.call, request: &parcel.request });
        let (network, late) = (self.clone(), (pair.clone(), parcel.call));
        self.agenda.after(deadline, move || network.give_up(&late.0, late.1));
        self.ship(&pair, parcel);
        if breaks {
            self.break_links(|other| *other == pair);
        }
    }

    fn give_up(&self, pair: &Pair, call: u64) {
        let waiting = self.state.lock().links.get_mut(pair).and_then(|link| link.waiting.remove(&call));
        if let Some(reply) = waiting {
            reply.answer(Err(Failure::TimedOut));
        }
    }

    fn ship(self: &Arc<Network>, pair: &Pair, parcel: Parcel) {
        let when = {
            let mut state = self.state.lock();
            let weather = state.weather.clone();
            let link = state.links.entry(pair.clone()).or_default();
            self.arrival(&weather, &mut link.last_request)
        };
        let (network, pair) = (self.clone(), pair.clone());
        self.agenda.at(when, move || network.deliver(pair, parcel));
    }

    fn deliver(self: &Arc<Network>, pair: Pair, parcel: Parcel) {
        let mut state = self.state.lock();
        let cut = state.cut.contains(&ends(&pair));
        let listener = state.bookies.get(&pair.1).filter(|listener| !listener.process.is_dead()).cloned();
        let link = state.links.entry(pair.clone()).or_default();
        if parcel.generation != link.generation || link.breaking {
            drop(state);
            return self.deliver_late(pair, parcel);
        }
        if cut || !link.held_requests.is_empty() {
            link.held_requests.push_back(parcel);
            return;
        }
        let twice = self.chance.hits(state.weather.duplicates);
        drop(state);
        if twice {
            let again = Parcel { call: 0, generation: parcel.generation, request: parcel.request.clone() };
            self.hand_over_later(pair.clone(), again);
        }
        match listener {
            Some(listener) => self.hand_over(listener, pair, parcel),
            // Nobody listens: the machine says so.
            None => self.break_links(|other| *other == pair),
        }
    }

    /// A request of a broken connection: mostly lost, sometimes it had already been in the bookie's queue.
    fn deliver_late(self: &Arc<Network>, pair: Pair, mut parcel: Parcel) {
        if self.chance.hits(0.4) {
            parcel.call = 0;
            self.hand_over_later(pair, parcel);
        }
    }

    /// Nobody waits for the answer of such a request.
    fn hand_over_later(self: &Arc<Network>, pair: Pair, parcel: Parcel) {
        let network = self.clone();
        self.agenda.after(self.chance.millis(0..3000), move || {
            let listener = network.state.lock().bookies.get(&pair.1).cloned();
            if let Some(listener) = listener.filter(|listener| !listener.process.is_dead()) {
                network.hand_over(listener, pair, parcel);
            }
        });
    }

    fn hand_over(self: &Arc<Network>, listener: Listener, pair: Pair, parcel: Parcel) {
        let network = self.clone();
        let process = listener.process.clone();
        process.enter(move || {
            let Parcel { call, generation, request } = parcel;
            network.trace.record(&Event::Arrived { to: &pair.1, call, request: &request });
            let arrival = network.judge.hear(|model| model.arrived(&pair.1, &request));
            let held = network
                .judge
                .hear(|model| model.taken(&pair.1, (listener.process.id, listener.memory), &request));
            let back = Back {
                network: network.clone(),
                pair,
                call,
                generation,
                arrival,
                held,
                by: listener.process,
            };
            listener.service.submit(vec![(request, ReplyTo::new(Arc::new(back), call))]);
        });
    }

    fn send_back(self: &Arc<Network>, pair: &Pair, call: u64, reply: Reply) {
        let when = {
            let mut state = self.state.lock();
            let weather = state.weather.clone();
            let (to, from) = ends(pair);
            let cut = state.cut.contains(&(from, to));
            let Some(link) = state.links.get_mut(pair) else { return };
            if cut || !link.held_answers.is_empty() {
                link.held_answers.push_back((call, reply));
                return;
            }
            self.arrival(&weather, &mut link.last_answer)
        };
        let (network, pair) = (self.clone(), pair.clone());
        self.agenda.at(when, move || {
            let waiting =
                network.state.lock().links.get_mut(&pair).and_then(|link| link.waiting.remove(&call));
            if let Some(to) = waiting {
                network.trace.record(&Event::Replied { to: pair.0, from: &pair.1, call, reply: &reply });
                to.answer(reply);
            }
        });
    }
}

/// The way back of one call's answer.
struct Back {
    network: Arc<Network>,
    pair: Pair,
    call: u64,
    generation: u64,
    arrival: Arrival,
    /// Bytes that the bookie holds for it.
    held: u64,
    by: Arc<Process>,
}

impl Replies for Back {
    fn answer(&self, _: u64, reply: Reply) {
        if self.by.is_dead() {
            return;
        }
        let network = &self.network;
        network.judge.hear(|model| model.memory.given_back(self.by.id, self.held));
        network.judge.hear(|model| model.answered(&self.pair.1, &self.arrival, &reply));
        network.trace.record(&Event::Answered { by: &self.pair.1, call: self.call, reply: &reply });
        network.spring(&self.pair.1, &self.arrival);
        let same = network
            .state
            .lock()
            .links
            .get(&self.pair)
            .is_some_and(|l| l.generation == self.generation && !l.breaking);
        if !same || self.call == 0 {
            return;
        }
        // A bookie that drops its duty closes the connection.
        if reply == Err(Failure::Unreachable) {
            return network.break_links(|other| *other == self.pair);
        }
        network.send_back(&self.pair, self.call, reply);
    }
}

impl Bookies for Endpoint {
    fn send(&self, bookie: &BookieId, request: Request, reply: ReplyTo) {
        self.network.send(&self.process, bookie, request, Gate::before(&self.process, reply));
    }
}

/// Holds answers back while the asker is paused, and for ever once it is dead.
struct Gate {
    process: Arc<Process>,
    reply: Mutex<Option<ReplyTo>>,
}

impl Gate {
    fn before(process: &Arc<Process>, reply: ReplyTo) -> ReplyTo {
        ReplyTo::new(Arc::new(Gate { process: process.clone(), reply: Mutex::new(Some(reply)) }), 0)
    }
}

impl Replies for Gate {
    fn answer(&self, _: u64, reply: Reply) {
        if let Some(to) = self.reply.lock().take() {
            self.process.enter(move || to.answer(reply));
        }
    }
}
