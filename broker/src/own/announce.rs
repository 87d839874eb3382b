//! What name servers are told: every one by itself, at once when something changes, and again every 30 s.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use net::remoting::{Client, Connection, Handler, Unanswered};
use parking_lot::Mutex;
use protocol::body::advertise::{self, Rules};
use protocol::body::json;
use protocol::body::register::{Registration, WHOLE_FIELD, body_crc};
use protocol::body::route::MASTER;
use protocol::body::topic::{DataVersion, TopicTable};
use protocol::remoting::Command;
use protocol::remoting::code::{request as ask, response};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use super::Settings;
use crate::serve::Served;

/// How often a name server hears of us when nothing changes.
const REFRESH: Duration = Duration::from_secs(30);
/// One that did not answer is tried again after this.
const RETRY: Duration = Duration::from_secs(1);
/// A name server has so long to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// And at our end so long.
const FAREWELL: Duration = Duration::from_millis(200);
/// A larger body is compressed.
const LARGE: usize = 256 << 10;

/// A virtual broker as name servers are told of it.
pub(super) struct Offer {
    name: String,
    address: String,
    ha_address: String,
    rules: Rules,
    served: Arc<Served>,
}

impl Offer {
    pub fn new(settings: &Settings, port: u16, served: Arc<Served>) -> Offer {
        let with_port = |(network, host): &(_, String)| (*network, format!("{host}:{port}"));
        Offer {
            name: served.vb.name.to_string(),
            address: format!("{}:{port}", settings.advertise),
            ha_address: format!("{}:{}", settings.advertise, u32::from(port) + 1),
            rules: Rules(settings.rules.0.iter().map(with_port).collect()),
            served,
        }
    }
}

/// How far a name server has come.
#[derive(Clone, Debug, Default)]
struct Heard {
    told: Told,
    failed: bool,
}

pub(super) struct Announcer {
    board: Arc<Board>,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// What all tasks read.
struct Board {
    cluster: Arc<str>,
    client: Client,
    offers: Mutex<BTreeMap<u32, Arc<Offer>>>,
    /// To be unregistered at the end.
    leaving: Mutex<Vec<Arc<Offer>>>,
    news: watch::Sender<()>,
    heard: watch::Sender<BTreeMap<String, Heard>>,
}

/// Name servers ask nothing that a broker of ours answers.
struct Deaf;

impl Handler for Deaf {
    fn request(&self, from: &Arc<Connection>, request: Command) {
        from.reply(request.reply(response::REQUEST_CODE_NOT_SUPPORTED).remark("brokers are not asked here"));
    }

    fn closed(&self, _connection: &Arc<Connection>) {}
}

impl Announcer {
    pub fn start(cluster: Arc<str>, namesrvs: &[String]) -> Announcer {
        let heard = namesrvs.iter().map(|address| (address.clone(), Heard::default())).collect();
        let board = Arc::new(Board {
            cluster,
            client: Client::new(Arc::new(Deaf), net::remoting::Settings::default()),
            offers: Mutex::default(),
            leaving: Mutex::default(),
            news: watch::Sender::new(()),
            heard: watch::Sender::new(heard),
        });
        let tell = |address: &String| tokio::spawn(tell(board.clone(), address.clone())).abort_handle();
        let tasks = Mutex::new(namesrvs.iter().map(tell).collect());
        Announcer { board, tasks }
    }

    pub fn offer(&self, vb: u32, offer: Offer) {
        self.board.offers.lock().insert(vb, Arc::new(offer));
        self.news();
    }

    /// Says nothing more of a virtual broker. Only one that is still ours is to be unregistered: another's
    /// registration is none of our business.
    pub fn withdraw(&self, vb: u32, unregister: bool) {
        let offer = self.board.offers.lock().remove(&vb);
        if let Some(offer) = offer.filter(|_| unregister) {
            self.board.leaving.lock().push(offer);
        }
    }

    /// Topics have changed.
    pub fn news(&self) {
        self.board.news.send_replace(());
    }

    /// Waits until every name server that answers has heard of so many virtual brokers.
    pub async fn told(&self, virtual_brokers: usize) {
        let enough = |heard: &Heard| heard.failed || heard.told.len() >= virtual_brokers;
        // The sender is ours.
        let _ = self.board.heard.subscribe().wait_for(|heard| heard.values().all(enough)).await;
    }

    pub async fn unregister_all(&self) {
        self.tasks.lock().drain(..).for_each(|task| task.abort());
        let leaving = std::mem::take(&mut *self.board.leaving.lock());
        let mut telling = JoinSet::new();
        let addresses: Vec<String> = self.board.heard.borrow().keys().cloned().collect();
        for conn in addresses.iter().filter_map(|address| self.board.client.connected(address)) {
            for offer in &leaving {
                let (conn, request) = (conn.clone(), self.board.about(ask::UNREGISTER_BROKER, offer));
                telling.spawn(async move { conn.ask(request, FAREWELL).await });
            }
        }
        // Who does not answer finds out by the closed connection.
        let _ = timeout(FAREWELL, telling.join_all()).await;
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        self.tasks.lock().drain(..).for_each(|task| task.abort());
    }
}

/// What a name server was told last, and by which connection.
type Told = BTreeMap<u32, (u64, DataVersion)>;

async fn tell(board: Arc<Board>, namesrv: String) {
    let mut news = board.news.subscribe();
    let mut told = Told::new();
    let (mut refresh, mut complained) = (Instant::now() + REFRESH, false);
    loop {
        news.borrow_and_update();
        let due = Instant::now() >= refresh;
        let done = board.tell_all(&namesrv, &mut told, due).await;
        let heard = Heard { told: told.clone(), failed: done.is_err() };
        board.heard.send_modify(|all| all.extend([(namesrv.clone(), heard)]));
        board.tell_owners();
        let wait = match done {
            Ok(()) => {
                if due {
                    refresh = Instant::now() + REFRESH;
                }
                complained = false;
                refresh
            }
            Err(why) => {
                if !std::mem::replace(&mut complained, true) {
                    tracing::warn!(
                        namesrv,
                        "a name server is not told what is served here: {why}; trying again"
                    );
                }
                Instant::now() + RETRY
            }
        };
        tokio::select! {
            biased;
            changed = news.changed() => if changed.is_err() { return },
            () = sleep_until(wait) => {}
        }
    }
}

impl Board {
    /// Tells virtual brokers of which version of their topics all name servers know that answer.
    fn tell_owners(&self) {
        let heard = self.heard.borrow();
        for (vb, offer) in &*self.offers.lock() {
            let epoch = offer.served.vb.epoch() as i64;
            let version = |heard: &Heard| match heard.told.get(vb) {
                Some((_, told)) if told.state_version == epoch => told.counter as u64,
                _ => 0,
            };
            let known = heard.values().filter(|heard| !heard.failed).map(version).min();
            offer.served.topics_known(known.unwrap_or(u64::MAX));
        }
    }

    /// Registers what this name server has not heard; with `due`, sees to it that it has not forgotten the rest.
    async fn tell_all(&self, namesrv: &str, told: &mut Told, due: bool) -> Result<(), String> {
        let offers = self.offers.lock().clone();
        told.retain(|vb, _| offers.contains_key(vb));
        for (vb, offer) in offers {
            let conn = self.client.connection(namesrv).await.map_err(|error| error.to_string())?;
            let table = offer.served.registration();
            let now = (conn.id(), table.data_version);
            let same = told.get(&vb) == Some(&now);
            if same && (!due || self.remembers(&conn, &offer, &table).await?) {
                continue;
            }
            told.remove(&vb);
            self.register(&conn, &offer, table).await?;
            told.insert(vb, now);
        }
        Ok(())
    }

    /// Whether the name server still has what it was told; asking is as good as registering.
    async fn remembers(&self, conn: &Connection, offer: &Offer, table: &TopicTable) -> Result<bool, String> {
        let request = self.about(ask::QUERY_DATA_VERSION, offer).body(json::write(&table.data_version));
        let reply = conn.ask(request, PATIENCE).await.map_err(|error| error.to_string())?;
        Ok(reply.code == response::SUCCESS && reply.fields.get("changed") == Some("false"))
    }

    async fn register(&self, conn: &Connection, offer: &Offer, table: TopicTable) -> Result<(), String> {
        let registration = Registration::new(table);
        let plain = registration.encode();
        let compressed = plain.len() > LARGE;
        let body = if compressed { registration.compress() } else { plain };
        let mut request = self
            .about(ask::REGISTER_BROKER, offer)
            .with("haServerAddr", &offer.ha_address)
            .with("enableActingMaster", false)
            .with("compressed", compressed)
            .with("bodyCrc32", body_crc(&body))
            .with(WHOLE_FIELD, true);
        if !offer.rules.0.is_empty() {
            request.fields.push(advertise::FIELD, &offer.rules);
        }
        let reply =
            conn.ask(request.body(body), PATIENCE).await.map_err(|error: Unanswered| error.to_string())?;
        match reply.code {
            response::SUCCESS => Ok(()),
            code => Err(format!("{} was refused ({code}): {}", offer.name, reply.remark.unwrap_or_default())),
        }
    }

    fn about(&self, code: i32, offer: &Offer) -> Command {
        Command::request(code)
            .with("brokerName", &offer.name)
            .with("brokerAddr", &offer.address)
            .with("clusterName", &self.cluster)
            .with("brokerId", MASTER)
    }
}
