//! A broker and name server in memory, with one topic `t` of two queues and its retry topic: just what the client's own
//! doings need. The real ones are met in the interoperability tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use net::remoting::{Connection, Handler, Listening, Server, Settings};
use parking_lot::Mutex;
use protocol::body::heartbeat::{ConsumerList, Heartbeat};
use protocol::body::route::{BrokerData, QueueData, TopicRoute};
use protocol::body::{json, lock};
use protocol::message::{Batched, OffsetId, Stored, batch, properties, sys_flag};
use protocol::remoting::Command;
use protocol::remoting::code::{request, response};
use protocol::remoting::header::{Pull, PullReply, Send, SendReply, Suspend};
use tokio::net::TcpListener;

pub const BROKER: &str = "broker-0";

#[derive(Default)]
pub struct State {
    queues: BTreeMap<(String, i32), Vec<Bytes>>,
    offsets: BTreeMap<(String, String, i32), i64>,
    members: BTreeMap<String, BTreeMap<String, Arc<Connection>>>,
    held: Vec<(Arc<Connection>, Command)>,
    locks: BTreeMap<(String, i32), String>,
    /// Half messages, not yet decided.
    pub halves: Vec<(i64, Bytes)>,
    pub decided: Vec<(i64, i32, bool)>,
    /// The next sends are answered so.
    pub refuse: Vec<i32>,
    pub sends: usize,
    /// As a broker it answers nothing, and its connections stay: it is paused.
    pub deaf: bool,
    pub asked_by: Option<Arc<Connection>>,
}

pub struct Toy {
    pub state: Mutex<State>,
    address: Mutex<String>,
}

pub async fn start() -> (Arc<Toy>, Server, Listening, String) {
    let toy = Arc::new(Toy { state: Mutex::default(), address: Mutex::default() });
    let server = Server::new(toy.clone(), Settings::default());
    let listening = server.listen(TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
    let address = listening.address().to_string();
    *toy.address.lock() = address.clone();
    (toy, server, listening, address)
}

impl Toy {
    /// As a name server it says that its broker is there now.
    pub fn lead_to(&self, address: &str) {
        *self.address.lock() = address.to_owned();
    }

    pub fn committed(&self, group: &str, queue: i32) -> Option<i64> {
        self.state.lock().offsets.get(&(group.into(), "t".into(), queue)).copied()
    }

    pub fn members(&self, group: &str) -> usize {
        self.state.lock().members.get(group).map_or(0, BTreeMap::len)
    }

    fn route(&self, topic: &str) -> Option<TopicRoute> {
        let queues = match topic {
            "t" => 2,
            _ if topic.starts_with("%RETRY%") => 1,
            "TBW102" => 8,
            _ => return None,
        };
        let address = self.address.lock().clone();
        Some(TopicRoute {
            broker_datas: vec![BrokerData {
                broker_name: BROKER.into(),
                broker_addrs: BTreeMap::from([(0, address)]),
                ..BrokerData::default()
            }],
            queue_datas: vec![QueueData {
                broker_name: BROKER.into(),
                perm: 6,
                read_queue_nums: queues,
                write_queue_nums: queues,
                topic_sys_flag: 0,
            }],
            ..TopicRoute::default()
        })
    }

    fn send(&self, from: &Connection, request: &Command) -> Command {
        let send = Send::read(request).unwrap();
        let mut state = self.state.lock();
        state.sends += 1;
        if let Some(code) = state.refuse.pop() {
            return request.reply(code).remark("not now");
        }
        let all: Vec<Batched> = match send.batch {
            true => batch::decode(request.body.clone()).collect::<Result<_, _>>().unwrap(),
            false => vec![Batched {
                flag: 0,
                body: request.body.clone(),
                properties: send.properties.to_owned().into(),
            }],
        };
        let mut ids = Vec::new();
        let mut first = None;
        for one in all {
            let half = send.sys_flag & sys_flag::PREPARED != 0;
            let (offset, id) = state.append(from, send.topic, send.queue, half, &one);
            first.get_or_insert(offset);
            ids.push(id);
        }
        state.wake();
        let mut reply = request.reply(response::SUCCESS);
        let header = SendReply {
            message_id: &ids.join(","),
            queue: send.queue,
            queue_offset: first.unwrap(),
            ..SendReply::default()
        };
        header.write(&mut reply.fields);
        reply
    }

    /// The members of a group, to whom it knows.
    fn list(&self, from: &Arc<Connection>, request: &Command) -> Command {
        let state = self.state.lock();
        let members = state.members.get(request.fields.get("consumerGroup").unwrap());
        match members.filter(|all| all.values().any(|member| member.id() == from.id())) {
            Some(all) => {
                let list = all.keys().cloned().collect();
                request.reply(0).body(json::write(&ConsumerList { consumer_id_list: list }))
            }
            None => request.reply(1),
        }
    }

    fn members_changed(&self, group: &str) {
        let members: Vec<_> = self
            .state
            .lock()
            .members
            .get(group)
            .into_iter()
            .flatten()
            .map(|(_, conn)| conn.clone())
            .collect();
        for member in members {
            member.tell(Command::one_way(request::NOTIFY_CONSUMER_IDS_CHANGED).with("consumerGroup", group));
        }
    }

    fn heartbeat(&self, from: &Arc<Connection>, request: &Command) {
        let heartbeat: Heartbeat = json::read(&request.body).unwrap();
        for consumer in heartbeat.consumer_data_set {
            let mut state = self.state.lock();
            let group = state.members.entry(consumer.group_name.clone()).or_default();
            let new = group.insert(heartbeat.client_id.clone(), from.clone()).is_none();
            drop(state);
            if new {
                self.members_changed(&consumer.group_name);
            }
        }
    }

    fn offset(&self, request: &Command, code: i32) -> Command {
        let fields = &request.fields;
        let queue = (fields.text("topic").unwrap().to_owned(), fields.number("queueId").unwrap());
        let mut state = self.state.lock();
        let key = || (fields.text("consumerGroup").unwrap().to_owned(), queue.0.clone(), queue.1);
        let found = match code {
            request::GET_MAX_OFFSET => Some(state.queues.get(&queue).map_or(0, Vec::len) as i64),
            request::GET_MIN_OFFSET => Some(0),
            request::QUERY_CONSUMER_OFFSET => state.offsets.get(&key()).copied(),
            _ => {
                state.offsets.insert(key(), fields.number("commitOffset").unwrap());
                Some(0)
            }
        };
        match found {
            Some(offset) => request.reply(response::SUCCESS).with("offset", offset),
            None => request.reply(response::QUERY_NOT_FOUND),
        }
    }

    fn lock(&self, request: &Command) -> Command {
        let asked: lock::LockRequest = json::read(&request.body).unwrap();
        let mut state = self.state.lock();
        let mut locked = Vec::new();
        for queue in asked.mq_set {
            let key = (queue.topic.clone(), queue.queue_id);
            if request.code == request::UNLOCK_BATCH_MQ {
                if state.locks.get(&key) == Some(&asked.client_id) {
                    state.locks.remove(&key);
                }
            } else if *state.locks.entry(key).or_insert_with(|| asked.client_id.clone()) == asked.client_id {
                locked.push(queue);
            }
        }
        request.reply(response::SUCCESS).body(json::write(&lock::LockReply { locked }))
    }

    /// Puts a message that was not consumed into the retry topic, at once.
    fn back(&self, from: &Connection, request: &Command) -> Command {
        let group = request.fields.text("group").unwrap();
        let offset: i64 = request.fields.number("offset").unwrap();
        let mut state = self.state.lock();
        let all = state.queues.values().flatten();
        let stored = all.map(|bytes| protocol::message::Message::take(&mut bytes.clone()).unwrap());
        let found = stored.into_iter().find(|message| message.physical_offset == offset).unwrap();
        let text = String::from_utf8(found.properties.to_vec()).unwrap();
        let text = properties::with(&text, properties::RETRY_TOPIC, request.fields.get("originTopic"));
        let again = Batched { flag: 0, body: found.body, properties: text.into() };
        state.append(from, &format!("%RETRY%{group}"), 0, false, &again);
        state.wake();
        request.reply(response::SUCCESS)
    }
}

impl State {
    fn append(
        &mut self,
        from: &Connection,
        topic: &str,
        queue: i32,
        half: bool,
        one: &Batched,
    ) -> (i64, String) {
        let physical = self.queues.values().flatten().map(|bytes| bytes.len() as i64).sum::<i64>()
            + self.halves.iter().map(|(_, bytes)| bytes.len() as i64).sum::<i64>();
        let messages = self.queues.entry((topic.to_owned(), queue)).or_default();
        let offset = if half { self.halves.len() } else { messages.len() } as i64;
        let stored = Stored {
            topic,
            queue,
            flag: one.flag,
            queue_offset: offset,
            physical_offset: physical,
            sys_flag: 0,
            born_time: 1,
            born_host: from.peer(),
            store_time: 2,
            store_host: from.local(),
            reconsume_times: i32::from(topic.starts_with("%RETRY%")),
            prepared_offset: 0,
            body: &one.body,
            properties: &[&one.properties],
        };
        let mut bytes = BytesMut::new();
        stored.encode(&mut bytes);
        match half {
            true => self.halves.push((physical, bytes.freeze())),
            false => messages.push(bytes.freeze()),
        }
        (offset, OffsetId { host: from.local(), offset: physical }.to_string())
    }

    fn pull(&self, request: &Command) -> (Command, bool) {
        let pull = Pull::read(request).unwrap();
        let all = self.queues.get(&(pull.topic.to_owned(), pull.queue)).map_or(&[][..], Vec::as_slice);
        let found: Vec<&[u8]> = all
            .iter()
            .skip(pull.offset as usize)
            .take(pull.max_messages as usize)
            .map(|bytes| &bytes[..])
            .collect();
        let next = pull.offset + found.len() as i64;
        let code = if found.is_empty() { response::PULL_NOT_FOUND } else { response::SUCCESS };
        let mut reply = request.reply(code).body(found.concat());
        PullReply { next, min: 0, max: all.len() as i64 }.write(&mut reply.fields);
        (reply, found.is_empty() && pull.suspend != Suspend::No)
    }

    /// Answers the pulls that were held.
    fn wake(&mut self) {
        for (conn, request) in std::mem::take(&mut self.held) {
            conn.reply(self.pull(&request).0);
        }
    }
}

impl Handler for Toy {
    fn request(&self, from: &Arc<Connection>, request: Command) {
        if self.state.lock().deaf && request.code != request::GET_ROUTEINFO_BY_TOPIC {
            return;
        }
        let reply = match request.code {
            request::GET_ROUTEINFO_BY_TOPIC => match self.route(request.fields.get("topic").unwrap()) {
                Some(route) => request.reply(0).body(json::write(&route)),
                None => request.reply(response::TOPIC_NOT_EXIST).remark("no such topic"),
            },
            request::SEND_MESSAGE_V2 | request::SEND_BATCH_MESSAGE => {
                self.state.lock().asked_by = Some(from.clone());
                self.send(from, &request)
            }
            request::HEART_BEAT => {
                self.heartbeat(from, &request);
                request.reply(0)
            }
            request::UNREGISTER_CLIENT => {
                let group = request.fields.get("consumerGroup").unwrap_or_default().to_owned();
                let id = request.fields.get("clientID").unwrap();
                self.state.lock().members.entry(group.clone()).or_default().remove(id);
                self.members_changed(&group);
                request.reply(0)
            }
            request::GET_CONSUMER_LIST_BY_GROUP => self.list(from, &request),
            request::PULL_MESSAGE => {
                let mut state = self.state.lock();
                let (reply, hold) = state.pull(&request);
                if hold {
                    return state.held.push((from.clone(), request));
                }
                reply
            }
            request::LOCK_BATCH_MQ | request::UNLOCK_BATCH_MQ => self.lock(&request),
            request::CONSUMER_SEND_MSG_BACK => self.back(from, &request),
            request::END_TRANSACTION => {
                let offset = request.fields.number("commitLogOffset").unwrap();
                let decision = request.fields.number("commitOrRollback").unwrap();
                let checked = request.fields.is_true("fromTransactionCheck");
                self.state.lock().decided.push((offset, decision, checked));
                request.reply(0)
            }
            code => self.offset(&request, code),
        };
        from.reply(reply);
    }

    fn closed(&self, connection: &Arc<Connection>) {
        let mut state = self.state.lock();
        state.members.values_mut().for_each(|group| group.retain(|_, conn| conn.id() != connection.id()));
    }
}
