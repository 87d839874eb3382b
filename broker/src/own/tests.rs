use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use ledger::log::memory::MemoryLogs;
use metadata::embedded::Embedded;
use namesrv::NameServer;
use namesrv::serve::NameServerHandler;
use net::remoting::{Client, Listening, Server};
use protocol::body::json;
use protocol::body::route::TopicRoute;
use protocol::remoting::Command;
use protocol::remoting::code::{request as ask, response};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::vb::clock::SystemClock;

const SOON: Duration = Duration::from_secs(10);

/// A name server, metadata and logs, on which brokers are started and stopped.
struct World {
    store: Arc<dyn Store>,
    scope: Scope,
    logs: Arc<dyn Logs>,
    namesrv: Listening,
    client: Client,
    vbs: u32,
    lease: Duration,
}

/// A lease in whose time nobody who need not wait for its end can fail to be done, however busy the machine is.
const LONG: Duration = Duration::from_secs(5);

impl World {
    async fn new(vbs: u32) -> World {
        let store =
            Embedded::open(disk::simulated::Device::new(1, 64 << 20).mount(), Default::default()).unwrap();
        let server = NameServer::new(namesrv::Settings::default()).unwrap();
        let handler = Arc::new(NameServerHandler(server));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let namesrv = Server::new(handler.clone(), Default::default()).listen(listener).unwrap();
        let client = Client::new(handler, Default::default());
        let scope = Scope::new("/s").unwrap();
        let logs = Arc::new(MemoryLogs::new(Default::default()));
        World { store, scope, logs, namesrv, client, vbs, lease: Duration::from_secs(1) }
    }

    async fn broker(&self, advertise: &str) -> Broker {
        self.broker_at(advertise, 0).await
    }

    async fn broker_at(&self, advertise: &str, base_port: u16) -> Broker {
        self.broker_on("m", advertise, base_port).await.unwrap()
    }

    async fn broker_on(&self, machine: &str, advertise: &str, base_port: u16) -> Result<Broker, Error> {
        let settings = Settings {
            cluster: "C".into(),
            vbs: self.vbs,
            host: "127.0.0.1".into(),
            base_port,
            advertise: advertise.into(),
            rules: "10.0.0.0/8=inside".parse().unwrap(),
            store_host: Ipv4Addr::LOCALHOST.into(),
            namesrvs: vec![self.namesrv.address().to_string()],
            lease: self.lease,
            limits: Limits::default(),
            known: Known::default(),
            net: Default::default(),
            machine: machine.into(),
        };
        let metadata = (self.store.clone(), self.scope.clone());
        let token = u64::from(advertise.len() as u32);
        Broker::start(settings, metadata, self.logs.clone(), Arc::new(SystemClock::new()), token).await
    }

    async fn ask(&self, address: SocketAddr, request: Command) -> Command {
        self.client.ask(&address.to_string(), request, SOON).await.unwrap()
    }

    async fn route(&self, topic: &str) -> TopicRoute {
        let request = Command::request(ask::GET_ROUTEINFO_BY_TOPIC).with("topic", topic);
        let reply = self.ask(self.namesrv.address(), request).await;
        json::read(&reply.body).unwrap_or_default()
    }

    /// Where clients are told that a topic is.
    async fn addresses(&self, topic: &str) -> Vec<String> {
        let route = self.route(topic).await;
        route.broker_datas.iter().flat_map(|data| data.broker_addrs.values().cloned()).collect()
    }
}

async fn ready(broker: &Broker, count: usize) {
    timeout(SOON, broker.ready(count)).await.unwrap();
}

#[tokio::test]
async fn a_broker_serves_everything_that_nobody_owns_and_says_so() {
    let world = World::new(2).await;
    let broker = world.broker("127.0.0.1").await;
    ready(&broker, 2).await;
    for (vb, serving) in broker.serving() {
        let address = format!("127.0.0.1:{}", serving.port);
        assert_eq!(world.addresses(&vb_name(vb)).await, std::slice::from_ref(&address));
        let request = Command::request(ask::GET_MAX_OFFSET).with("topic", vb_name(vb)).with("queueId", 0);
        let reply = world.ask(address.parse().unwrap(), request).await;
        assert_eq!((reply.code, reply.fields.get("offset")), (response::SUCCESS, Some("0")));
    }
    assert_eq!(world.addresses("C").await.len(), 2);
}

#[tokio::test]
async fn an_owner_and_a_standby_are_ready_and_one_that_stops_is_not() {
    let world = World::new(2).await;
    let first = world.broker("127.0.0.1").await;
    ready(&first, 2).await;
    let standby = world.broker("localhost").await;
    let within = |broker: &Broker, text: &str| broker.readiness() == Ok(text.to_owned());
    timeout(SOON, async {
        while !within(&standby, "standing by: others serve all virtual brokers")
            || !within(&first, "serving 2 virtual brokers")
        {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(standby.http("/ready").status, 200);
    first.stop().await;
    assert_eq!(first.readiness(), Err("stopping".to_owned()));
    assert_eq!((first.http("/ready").status, first.http("/nothing").status), (503, 404));
}

#[tokio::test]
async fn a_broker_that_cannot_serve_what_it_claims_is_never_ready() {
    let world = World::new(1).await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let broker = world.broker_at("127.0.0.1", taken.local_addr().unwrap().port()).await;
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(1500) {
        assert!(broker.readiness().is_err(), "{:?} after {:?}", broker.readiness(), since.elapsed());
        sleep(Duration::from_millis(1)).await;
    }
    drop(taken);
    ready(&broker, 1).await;
    timeout(SOON, async {
        while broker.readiness().is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn metrics_have_rocketmqs_names() {
    let world = World::new(1).await;
    let broker = world.broker("127.0.0.1").await;
    ready(&broker, 1).await;
    let port = broker.serving()[&0].port;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let send = protocol::remoting::header::Send {
        group: "p",
        topic: "t",
        default_topic: "TBW102",
        default_queues: 1,
        queue: 0,
        ..Default::default()
    };
    assert_eq!(world.ask(address, send.write().body("hello")).await.code, response::SUCCESS);
    assert_eq!(world.ask(address, send.write().body("world")).await.code, response::SUCCESS);
    let pull = protocol::remoting::header::Pull {
        group: "g",
        topic: "t",
        max_messages: 1,
        subscription: Some("*"),
        ..Default::default()
    };
    assert_eq!(world.ask(address, pull.write()).await.code, response::SUCCESS);
    let commit = Command::request(ask::UPDATE_CONSUMER_OFFSET).with("consumerGroup", "g").with("topic", "t");
    let commit = commit.with("queueId", 0).with("commitOffset", 1);
    let committed = world.ask(address, commit).await;
    assert_eq!((committed.code, committed.remark), (response::SUCCESS, None));
    let text = metrics::text(&broker.serving(), None);
    let node = "{cluster=\"C\",node_type=\"broker\",node_id=\"broker-0\"";
    for line in [
        format!("rocketmq_messages_in_total{node},topic=\"t\"}} 2\n"),
        format!("rocketmq_messages_out_total{node},consumer_group=\"g\",topic=\"t\"}} 1\n"),
        format!("stratamq_vb_epoch{node}}} 1\n"),
        format!("rocketmq_consumer_lag_messages{node},consumer_group=\"g\",topic=\"t\"}} 1\n"),
        "stratamq_vbs_served 1\n".to_owned(),
        "stratamq_clock_in_doubt 0\n".to_owned(),
    ] {
        assert!(text.contains(&line), "{line} in\n{text}");
    }
}

#[tokio::test]
async fn routes_follow_the_settings_at_once() {
    let world = World::new(1).await;
    let broker = world.broker("127.0.0.1").await;
    ready(&broker, 1).await;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, broker.serving()[&0].port));
    let told = async |topic: &str| {
        world.route(topic).await.queue_datas.iter().map(|queues| queues.perm).collect::<Vec<_>>()
    };
    assert_eq!((told("C").await, told("TBW102").await), (vec![7], vec![7]));
    for (setting, of_cluster, of_new) in [
        ("brokerPermission=4", vec![4], vec![4]),
        ("autoCreateTopicEnable=false", vec![4], vec![]),
        ("brokerPermission=6", vec![7], vec![]),
        ("autoCreateTopicEnable=true", vec![7], vec![7]),
    ] {
        let update = Command::request(ask::UPDATE_BROKER_CONFIG).body(setting);
        assert_eq!(world.ask(address, update).await.code, response::SUCCESS);
        timeout(SOON, async {
            while (told("C").await, told("TBW102").await) != (of_cluster.clone(), of_new.clone()) {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect(setting);
    }
}

#[test]
fn the_manual_lists_what_is_counted_and_what_is_not() {
    let manual = include_str!("../../../docs/operations.md");
    let section = manual.split("\n## What brokers count\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let names = |table: &'static str| -> BTreeSet<&str> {
        let cells = table.lines().filter_map(|line| line.split('|').nth(1));
        let quoted = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
        quoted.filter(|name| name.contains("mq_")).collect()
    };
    let (listed, left_out) = section.split_once("| not served |").unwrap();
    let text = metrics::text(&BTreeMap::new(), None);
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    assert_eq!(names(listed), types.collect());
    assert!(names(left_out).len() > 8 && names(left_out).is_disjoint(&names(listed)));
}

#[tokio::test]
async fn what_is_given_up_is_served_by_the_standby_at_once() {
    let mut world = World::new(2).await;
    world.lease = LONG;
    let first = world.broker("127.0.0.1").await;
    ready(&first, 2).await;
    let standby = world.broker("localhost").await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(standby.serving().len(), 0);
    let began = Instant::now();
    first.stop().await;
    ready(&standby, 2).await;
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    assert!(world.addresses("broker-1").await[0].starts_with("localhost:"));
    assert!(standby.serving().values().all(|one| one.served.vb.epoch() == 2));
}

#[tokio::test]
async fn what_a_dead_broker_had_is_taken_over_when_its_lease_ends() {
    let world = World::new(1).await;
    let first = world.broker("127.0.0.1").await;
    ready(&first, 1).await;
    let standby = world.broker("localhost").await;
    drop(first);
    ready(&standby, 1).await;
    assert!(world.addresses("broker-0").await[0].starts_with("localhost:"));
}

#[tokio::test]
async fn an_owner_whose_log_was_taken_steps_down() {
    let world = World::new(1).await;
    let first = world.broker("127.0.0.1").await;
    ready(&first, 1).await;
    let before = first.serving()[&0].clone();
    // Somebody claims it, as a standby does after a lease has ended unnoticed.
    let key = world.scope.claim(0);
    let claim = metadata::schema::Claim { broker: "other:1".into(), token: 99, machine: "m".into() };
    metadata::commit(&*world.store, metadata::Txn::default().put(key, claim.encode())).await.unwrap();
    timeout(SOON, async {
        while !first.serving().is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    let refused = tokio::net::TcpStream::connect(("127.0.0.1", before.port)).await;
    assert!(refused.is_err());
    sleep(Duration::from_millis(300)).await;
    assert!(first.serving().is_empty(), "it must leave to others what they have claimed");
}

/// Logs with a bug that is met once.
struct Cursed {
    logs: Arc<dyn Logs>,
    met: AtomicBool,
}

impl Logs for Cursed {
    fn open<'a>(&'a self, name: &'a LogName) -> ledger::log::Doing<'a, Arc<dyn ledger::log::Log>> {
        assert!(self.met.swap(true, SeqCst), "a bug");
        self.logs.open(name)
    }

    fn links<'a>(&'a self, name: &'a LogName) -> ledger::log::Doing<'a, Vec<ledger::log::Link>> {
        self.logs.links(name)
    }
}

#[tokio::test]
async fn a_tenure_that_panics_is_over_and_the_next_begins() {
    let mut world = World::new(2).await;
    world.logs = Arc::new(Cursed { logs: world.logs, met: AtomicBool::new(false) });
    let broker = world.broker("127.0.0.1").await;
    ready(&broker, 2).await;
    assert_eq!(broker.readiness(), Ok("serving 2 virtual brokers".to_owned()));
}

#[tokio::test]
async fn two_processes_of_one_address_are_told_apart_and_the_second_is_refused() {
    let mut world = World::new(2).await;
    world.lease = LONG;
    let first = world.broker_on("here", "127.0.0.1", 0).await.unwrap();
    ready(&first, 2).await;
    let refused = world.broker_on("there", "127.0.0.1", 0).await.err().map(|error| error.to_string());
    let text = refused.unwrap();
    assert!(text.contains("127.0.0.1:0") && text.contains("'here'") && text.contains("'there'"), "{text}");
    assert_eq!(first.serving().len(), 2, "nobody has taken anything");
    drop(first);
    // Nobody else can have its ports: it does not wait for the lease.
    let began = Instant::now();
    let again = world.broker_on("here", "127.0.0.1", 0).await.unwrap();
    ready(&again, 2).await;
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    drop(again);
    // What a dead one has claimed elsewhere goes with its lease.
    ready(&world.broker_on("there", "127.0.0.1", 0).await.unwrap(), 2).await;
}
