//! A virtual broker of ours on a log in memory, and a name server in front of it that knows it only.

use std::collections::BTreeMap;
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
    pub address: String,
    _server: Server,
    _listening: Listening,
}

struct Front {
    served: Arc<Served>,
    door: Arc<dyn Handler>,
    address: String,
}

pub async fn start() -> Real {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let settings = VbSettings {
        id: 0,
        name: "broker-0".into(),
        address,
        log: LogName::new("vb-0").unwrap(),
        checkpoints: LogName::new("vb-0-checkpoint").unwrap(),
        limits: vb::Limits::default(),
        settings: Settings::default(),
    };
    let logs = MemoryLogs::new(Limits::default());
    let clock = Arc::new(SystemClock::new());
    let served = Served::open("DefaultCluster".into(), settings, &logs, clock).await.unwrap();
    let front = Front { door: served.door(), served, address: address.to_string() };
    let server = Server::new(Arc::new(front), remoting::Settings::default());
    let listening = server.listen(listener).unwrap();
    Real { address: address.to_string(), _server: server, _listening: listening }
}

impl Front {
    fn broker(&self) -> BrokerData {
        BrokerData {
            broker_name: "broker-0".into(),
            cluster: "DefaultCluster".into(),
            broker_addrs: BTreeMap::from([(0, self.address.clone())]),
            ..BrokerData::default()
        }
    }

    fn route(&self, request: &Command) -> Command {
        let topics = self.served.topic_table().topic_config_table;
        let Some(topic) = topics.get(request.fields.get("topic").unwrap()) else {
            return request.reply(response::TOPIC_NOT_EXIST).remark("no such topic");
        };
        let route = TopicRoute {
            broker_datas: vec![self.broker()],
            queue_datas: vec![QueueData {
                broker_name: "broker-0".into(),
                perm: topic.perm,
                read_queue_nums: topic.read_queue_nums,
                write_queue_nums: topic.write_queue_nums,
                topic_sys_flag: topic.topic_sys_flag,
            }],
            ..TopicRoute::default()
        };
        request.reply(response::SUCCESS).body(json::write(&route))
    }
}

impl Handler for Front {
    fn request(&self, from: &Arc<Connection>, request: Command) {
        let reply = match request.code {
            request::GET_ROUTEINFO_BY_TOPIC => self.route(&request),
            request::GET_BROKER_CLUSTER_INFO => {
                let cluster = ClusterInfo {
                    broker_addr_table: BTreeMap::from([("broker-0".to_owned(), self.broker())]),
                    ..ClusterInfo::default()
                };
                request.reply(response::SUCCESS).body(json::write(&cluster))
            }
            request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => {
                let topics = self.served.topic_table().topic_config_table.into_keys().collect();
                let list = TopicList { topic_list: topics, ..TopicList::default() };
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
