//! What producers, consumers and administration share.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use net::remoting::{self, Connection};
use parking_lot::Mutex;
use protocol::body::heartbeat::Heartbeat;
use protocol::body::json;
use protocol::body::route::TopicRoute;
use protocol::message::UniqueKeys;
use protocol::remoting::Command;
use protocol::remoting::code::{request, response};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::callbacks::Callbacks;
use crate::consumer::{PullConsumer, PushBuilder, about};
use crate::routes::{Route, Routes};
use crate::transaction::{Decision, TransactionProducer};
use crate::{Admin, Error, Outcome, Producer, Queue, Received};

/// The topic whose settings topics get that are made by their first message.
pub(crate) const DEFAULT_TOPIC: &str = "TBW102";

#[derive(Clone, Debug)]
pub struct Settings {
    /// `host:port`, several with semicolons between.
    pub name_servers: String,
    /// For each request.
    pub timeout: Duration,
    /// How often brokers are told that we are there.
    pub beat: Duration,
    /// How often routes are asked for again. What fails asks at once.
    pub look: Duration,
    /// How many more brokers, or tries, a send is worth. One that found nobody, because a virtual broker is changing
    /// hands, is tried for as long as `timeout` besides.
    pub retries: u32,
    /// Queues that a topic gets, if the first message makes it.
    pub default_queues: i32,
    pub limits: remoting::Settings,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            name_servers: "127.0.0.1:9876".to_owned(),
            timeout: Duration::from_secs(3),
            beat: Duration::from_secs(30),
            look: Duration::from_secs(10),
            retries: 2,
            default_queues: 4,
            limits: remoting::Settings::default(),
        }
    }
}

/// Connections to name servers and brokers, and what is known of topics. Cheap to clone. Everything stops when the last
/// clone, and the last producer and consumer, is gone.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub settings: Settings,
    /// What brokers know us by.
    pub id: String,
    pub net: remoting::Client,
    pub routes: Routes,
    pub callbacks: Arc<Callbacks>,
    pub keys: Mutex<UniqueKeys>,
    name_servers: Vec<String>,
    /// The name server that answered last.
    answering: AtomicUsize,
    /// Somebody joined, or knows new brokers: heartbeats are due at once.
    pub joined: Arc<Notify>,
}

/// While a route lacks a broker it is asked for this often.
const LACKING: Duration = Duration::from_secs(1);
/// A name server that takes longer is left for another.
const OTHER: Duration = Duration::from_millis(700);
/// Somebody who fails again and again asks for a route this often.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// A broker that is at work answers a small question in this time.
const ALIVE: Duration = Duration::from_secs(1);
/// All who wait for one broker ask together, this often.
const CHECK_AGAIN: Duration = Duration::from_millis(500);

/// Tells clients of one process apart.
static CLIENTS: AtomicU32 = AtomicU32::new(0);

impl Client {
    /// A client of the cluster that these name servers know (`host:port`, several with semicolons between). Nothing
    /// is connected yet.
    pub fn new(name_servers: &str) -> Outcome<Client> {
        Client::with(Settings { name_servers: name_servers.to_owned(), ..Settings::default() })
    }

    /// Runs its tasks on the runtime that this is called on.
    pub fn with(settings: Settings) -> Outcome<Client> {
        let name_servers: Vec<String> = settings
            .name_servers
            .split([';', ','])
            .map(str::trim)
            .filter(|address| !address.is_empty())
            .map(str::to_owned)
            .collect();
        if name_servers.is_empty() {
            return Err(Error::Usage("give the address of a name server, as in 127.0.0.1:9876".to_owned()));
        }
        let number = CLIENTS.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        let ip = local_ip();
        // Two clients of one address and process differ by their number, those of one address by their start.
        let salt = (now_ms() as u32).wrapping_mul(31).wrapping_add(number);
        let callbacks = Arc::new(Callbacks::default());
        let shared = Arc::new(Shared {
            id: format!("{ip}@{pid}#{number}"),
            net: remoting::Client::new(callbacks.clone(), settings.limits.clone()),
            routes: Routes::default(),
            callbacks,
            keys: Mutex::new(UniqueKeys::new(ip, pid as u16, salt)),
            name_servers,
            answering: AtomicUsize::new(0),
            joined: Arc::new(Notify::new()),
            settings,
        });
        tokio::spawn(live(Arc::downgrade(&shared), shared.settings.clone(), shared.joined.clone()));
        Ok(Client { shared })
    }

    /// What brokers know this client by.
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    pub fn producer(&self, group: &str) -> Producer {
        self.shared.callbacks.add_producer(group, None);
        self.shared.joined.notify_one();
        Producer::new(self.clone(), group)
    }

    /// A producer whose messages become visible when their transaction is decided. `check` is asked for the fate of
    /// one whose decision has not reached the broker, also of messages that other producers of the group sent.
    pub fn transaction_producer(
        &self,
        group: &str,
        check: impl Fn(&Received) -> Decision + Send + Sync + 'static,
    ) -> TransactionProducer {
        TransactionProducer::new(self.clone(), group, Arc::new(check))
    }

    pub fn push_consumer(&self, group: &str) -> PushBuilder {
        PushBuilder::new(self.clone(), group)
    }

    pub fn pull_consumer(&self, group: &str) -> PullConsumer {
        PullConsumer::new(self.clone(), group)
    }

    pub fn admin(&self) -> Admin {
        Admin::new(self.clone())
    }
}

/// Asks for routes and tells brokers that we are there, until the client is gone.
async fn live(client: Weak<Shared>, settings: Settings, joined: Arc<Notify>) {
    let mut beat = Instant::now() + settings.beat;
    loop {
        let lacking = client.upgrade().is_some_and(|shared| shared.routes.are_lacking());
        let look = if lacking { LACKING } else { settings.look.min(settings.beat) };
        let told = tokio::select! {
            biased;
            () = joined.notified() => true,
            () = tokio::time::sleep(look) => false,
        };
        let Some(shared) = client.upgrade() else { return };
        shared.refresh_routes().await;
        if told || Instant::now() >= beat {
            shared.beat().await;
            beat = Instant::now() + settings.beat;
        }
    }
}

impl Shared {
    /// Asks a name server: the one that answered last, then the others, and nobody for long if there are others.
    pub async fn ask_name_server(&self, request: Command) -> Outcome<Command> {
        let full = self.settings.timeout;
        if self.name_servers.len() > 1 {
            let asked = self.ask_name_servers(&request, full.min(OTHER)).await;
            if asked.is_ok() {
                return asked;
            }
        }
        self.ask_name_servers(&request, full).await
    }

    async fn ask_name_servers(&self, request: &Command, patience: Duration) -> Outcome<Command> {
        let first = self.answering.load(Ordering::Relaxed);
        let mut failed = String::new();
        for turn in 0..self.name_servers.len() {
            let at = (first + turn) % self.name_servers.len();
            let Some(address) = self.name_servers.get(at) else { break };
            match self.net.ask(address, request.clone(), patience).await {
                Ok(reply) => {
                    self.answering.store(at, Ordering::Relaxed);
                    return Ok(reply);
                }
                Err(error) => failed = format!("{address}: {error}"),
            }
        }
        Err(Error::NoNameServer(failed))
    }

    pub fn name_servers(&self) -> &[String] {
        &self.name_servers
    }

    /// Asks a broker, and takes anything but success for an error.
    pub async fn ask(&self, address: &str, request: Command) -> Outcome<Command> {
        let reply = self.net.ask(address, request, self.settings.timeout).await?;
        if reply.code == response::SUCCESS { Ok(reply) } else { Err(Error::refused(address, &reply)) }
    }

    /// The route of a topic, from the name server.
    pub async fn fetch_route(&self, topic: &str) -> Outcome<TopicRoute> {
        let request = Command::request(request::GET_ROUTEINFO_BY_TOPIC)
            .with("topic", topic)
            .with("acceptStandardJsonOnly", true);
        let reply = self.ask_name_server(request).await?;
        match reply.code {
            response::SUCCESS => Ok(json::read(&reply.body)?),
            _ => Err(Error::refused("the name server", &reply)),
        }
    }

    /// The route of a topic, as it was heard last.
    pub async fn route(&self, topic: &str) -> Outcome<Arc<Route>> {
        match self.routes.get(topic) {
            Some(route) => Ok(route),
            None => self.new_route(topic).await,
        }
    }

    pub async fn new_route(&self, topic: &str) -> Outcome<Arc<Route>> {
        let route = self.fetch_route(topic).await?;
        self.keep_route(topic, &route);
        Ok(self.routes.get(topic).unwrap_or_default())
    }

    fn keep_route(&self, topic: &str, route: &TopicRoute) {
        if self.routes.put(topic, Route::of(topic, route), Instant::now()) {
            self.joined.notify_one();
            self.callbacks.routes_changed();
        }
    }

    /// Something failed as it does when a broker has moved: asks where it is, unless that was just asked.
    pub async fn suspect(&self, topic: &str) {
        if self.routes.may_ask(topic, Instant::now(), ASK_AGAIN)
            && let Err(error) = self.new_route(topic).await
        {
            tracing::debug!("no new route of {topic}: {error}");
        }
    }

    /// Whether the broker of a queue answers, as far as is known: a held pull says nothing of it. If it does not, it is
    /// looked for elsewhere.
    pub async fn answers(&self, queue: &Queue) -> bool {
        let Some(address) = self.routes.any(&queue.broker) else { return true };
        if !self.routes.may_ask(&address, Instant::now(), CHECK_AGAIN) {
            return true;
        }
        let asked = self.net.ask(&address, about(request::GET_MAX_OFFSET, queue), ALIVE).await;
        if asked.is_err() {
            self.suspect(&queue.topic).await;
        }
        asked.is_ok()
    }

    /// Asks a broker by its name. If it is not where it was, it is looked for, and asked again if nothing had left.
    pub async fn ask_broker(&self, broker: &str, topic: &str, request: Command) -> Outcome<Command> {
        let address = self.master(broker, topic).await?;
        let asked = self.ask(&address, request.clone()).await;
        let Err(error) = &asked else { return asked };
        if error.is_moving() {
            self.suspect(topic).await;
        }
        match self.routes.master(broker) {
            Some(now) if error.never_left() && now != address => self.ask(&now, request).await,
            _ => asked,
        }
    }

    /// Where to send: a topic that does not exist yet is made by its first message, on any broker that allows it.
    pub async fn route_for_sending(&self, topic: &str) -> Outcome<Arc<Route>> {
        let missing = match self.route(topic).await {
            Ok(route) => return Ok(route),
            Err(error) if error.code() == Some(response::TOPIC_NOT_EXIST) => error,
            Err(error) => return Err(error),
        };
        let Ok(mut route) = self.fetch_route(DEFAULT_TOPIC).await else { return Err(missing) };
        for queues in &mut route.queue_datas {
            queues.write_queue_nums = queues.read_queue_nums.min(self.settings.default_queues);
            queues.read_queue_nums = queues.write_queue_nums;
        }
        let route = Route::of(topic, &route);
        self.routes.learn(&route);
        // It is not kept: the next message finds the topic's own route.
        Ok(Arc::new(route))
    }

    async fn refresh_routes(&self) {
        for topic in self.routes.topics() {
            match self.fetch_route(&topic).await {
                Ok(route) => self.keep_route(&topic, &route),
                Err(error) => tracing::debug!("no new route of {topic}: {error}"),
            }
        }
    }

    /// Tells all brokers that we are there.
    pub async fn beat(&self) {
        let (producers, consumers) = self.callbacks.members();
        if producers.is_empty() && consumers.is_empty() {
            return;
        }
        let replicas = !consumers.is_empty();
        let heartbeat = Heartbeat {
            client_id: self.id.clone(),
            producer_data_set: producers,
            consumer_data_set: consumers,
            ..Heartbeat::default()
        };
        let body = json::write(&heartbeat);
        for address in self.routes.addresses(replicas) {
            let request = Command::request(request::HEART_BEAT).body(body.clone());
            if let Err(error) = self.ask(&address, request).await {
                tracing::debug!("{address} took no heartbeat: {error}");
            }
        }
    }

    /// Tells all brokers that a group has lost us.
    pub async fn leave(&self, producer: Option<&str>, consumer: Option<&str>) {
        for address in self.routes.addresses(consumer.is_some()) {
            let mut request = Command::request(request::UNREGISTER_CLIENT).with("clientID", &self.id);
            request.fields.push_some("producerGroup", producer);
            request.fields.push_some("consumerGroup", consumer);
            if let Err(error) = self.ask(&address, request).await {
                tracing::debug!("{address} was not told that we leave: {error}");
            }
        }
    }

    /// The address of a broker's master.
    pub async fn master(&self, broker: &str, topic: &str) -> Outcome<String> {
        if let Some(address) = self.routes.master(broker) {
            return Ok(address);
        }
        self.new_route(topic).await?;
        self.routes.master(broker).ok_or_else(|| Error::NoBroker(broker.to_owned()))
    }

    pub async fn connection(&self, address: &str) -> Outcome<Arc<Connection>> {
        Ok(self.net.connection(address).await?)
    }
}

/// ms since 1970.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The address that we would be seen by from outside; nothing is sent to find out.
fn local_ip() -> IpAddr {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
    let seen = socket.and_then(|socket| {
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    });
    seen.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}
