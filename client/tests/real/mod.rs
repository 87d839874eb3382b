//! Virtual brokers of ours on logs in memory, and name servers in front of them that know them only.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use broker::serve::Served;
use broker::state::Settings;
use broker::vb::clock::SystemClock;
use broker::vb::{self, VbSettings};
use ledger::log::memory::MemoryLogs;
use ledger::log::{Limits, LogName};
use net::remoting::{self, Connection, Handler, Listening, Server};
use protocol::body::cluster::ClusterInfo;
use protocol::body::json;
use protocol::body::route::{BrokerData, QueueData, TopicRoute};
use protocol::body::topic::TopicList;
use protocol::remoting::Command;
use protocol::remoting::code::{request, response};
use tokio::net::TcpListener;

pub struct Real {
    /// Of the first broker; each of them is a name server, too.
    pub address: String,
    /// Whoever is taken out of it is as dead as a killed process.
    pub serving: Vec<(Server, Listening)>,
}

struct Broker {
    served: Arc<Served>,
    address: String,
}

struct Front {
    all: Arc<Vec<Broker>>,
    door: Arc<dyn Handler>,
}

/// Brokers whose messages' ids name these hosts, or the address where they are.
pub async fn start(hosts: &[Option<SocketAddr>]) -> Real {
    let (mut all, mut listeners) = (Vec::new(), Vec::new());
    for (id, host) in hosts.iter().enumerate() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = open(id as u32, host.unwrap_or(address)).await;
        all.push(Broker { served, address: address.to_string() });
        listeners.push(listener);
    }
    let all = Arc::new(all);
    let serving = all.iter().zip(listeners).map(|(broker, listener)| {
        let front = Front { all: all.clone(), door: broker.served.door() };
        let server = Server::new(Arc::new(front), remoting::Settings::default());
        let listening = server.listen(listener).unwrap();
        (server, listening)
    });
    Real { serving: serving.collect(), address: all[0].address.clone() }
}

async fn open(id: u32, host: SocketAddr) -> Arc<Served> {
    let settings = VbSettings {
        id,
        name: format!("broker-{id}").into(),
        address: host,
        log: LogName::new(&format!("vb-{id}")).unwrap(),
        checkpoints: LogName::new(&format!("vb-{id}-checkpoint")).unwrap(),
        limits: vb::Limits::default(),
        settings: Settings::default(),
    };
    let logs = MemoryLogs::new(Limits::default());
    let clock = Arc::new(SystemClock::new());
    Served::open("DefaultCluster".into(), settings, &logs, clock).await.unwrap()
}

impl Broker {
    fn name(&self) -> String {
        self.served.vb.name.to_string()
    }

    fn data(&self) -> BrokerData {
        BrokerData {
            broker_name: self.name(),
            cluster: "DefaultCluster".into(),
            broker_addrs: BTreeMap::from([(0, self.address.clone())]),
            ..BrokerData::default()
        }
    }

    fn queues(&self, topic: &str) -> Option<QueueData> {
        let topic = self.served.topic_table().topic_config_table.remove(topic)?;
        Some(QueueData {
            broker_name: self.name(),
            perm: topic.perm,
            read_queue_nums: topic.read_queue_nums,
            write_queue_nums: topic.write_queue_nums,
            topic_sys_flag: topic.topic_sys_flag,
        })
    }
}

impl Front {
    fn route(&self, request: &Command) -> Command {
        let topic = request.fields.get("topic").unwrap();
        let having = self.all.iter().filter_map(|broker| Some((broker.data(), broker.queues(topic)?)));
        let (broker_datas, queue_datas): (Vec<_>, Vec<_>) = having.unzip();
        if queue_datas.is_empty() {
            return request.reply(response::TOPIC_NOT_EXIST).remark("no such topic");
        }
        let route = TopicRoute { broker_datas, queue_datas, ..TopicRoute::default() };
        request.reply(response::SUCCESS).body(json::write(&route))
    }

    fn cluster(&self) -> ClusterInfo {
        let brokers = self.all.iter().map(|broker| (broker.name(), broker.data()));
        let names = self.all.iter().map(Broker::name).collect();
        ClusterInfo {
            broker_addr_table: brokers.collect(),
            cluster_addr_table: BTreeMap::from([("DefaultCluster".to_owned(), names)]),
        }
    }

    fn topics(&self) -> BTreeSet<String> {
        let tables = self.all.iter().map(|broker| broker.served.topic_table().topic_config_table);
        tables.flat_map(|table| table.into_keys()).collect()
    }
}

impl Handler for Front {
    fn request(&self, from: &Arc<Connection>, request: Command) {
        let reply = match request.code {
            request::GET_ROUTEINFO_BY_TOPIC => self.route(&request),
            request::GET_BROKER_CLUSTER_INFO => {
                request.reply(response::SUCCESS).body(json::write(&self.cluster()))
            }
            request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => {
                let topic_list = self.topics().into_iter().collect();
                let list = TopicList { topic_list, ..TopicList::default() };
                request.reply(response::SUCCESS).body(json::write(&list))
            }
            _ => return self.door.request(from, request),
        };
        from.reply(reply);
    }

    fn drained(&self, from: &Arc<Connection>) {
        self.door.drained(from);
    }

    fn closed(&self, connection: &Arc<Connection>) {
        self.door.closed(connection);
    }
}
