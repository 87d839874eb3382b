//! What brokers ask of us.

use std::collections::BTreeMap;
use std::sync::Arc;

use net::remoting::{Connection, Handler};
use parking_lot::Mutex;
use protocol::body::heartbeat::{ConsumerData, ProducerData};
use protocol::message as stored;
use protocol::remoting::Command;
use protocol::remoting::code::{request, response};

use crate::consumer::Group;
use crate::transaction::{self, Check};
use crate::{Error, Received};

/// Who takes part: producers by group, and consumers by group.
#[derive(Default)]
pub(crate) struct Callbacks {
    producers: Mutex<BTreeMap<String, Producers>>,
    consumers: Mutex<BTreeMap<String, Arc<Group>>>,
}

#[derive(Default)]
struct Producers {
    count: usize,
    check: Option<Check>,
}

impl Callbacks {
    pub fn add_producer(&self, group: &str, check: Option<Check>) {
        let mut producers = self.producers.lock();
        let ours = producers.entry(group.to_owned()).or_default();
        ours.count += 1;
        ours.check = check.or(ours.check.take());
    }

    /// Whether it was the last of its group.
    pub fn remove_producer(&self, group: &str) -> bool {
        let mut producers = self.producers.lock();
        let Some(ours) = producers.get_mut(group) else { return false };
        ours.count -= 1;
        let last = ours.count == 0;
        if last {
            producers.remove(group);
        }
        last
    }

    pub fn add_consumer(&self, group: Arc<Group>) -> Result<(), Error> {
        let mut consumers = self.consumers.lock();
        if consumers.contains_key(group.name()) {
            let text =
                format!("group '{}' has a consumer in this client already: use another Client", group.name());
            return Err(Error::Usage(text));
        }
        consumers.insert(group.name().to_owned(), group);
        Ok(())
    }

    pub fn remove_consumer(&self, group: &str) {
        self.consumers.lock().remove(group);
    }

    pub fn members(&self) -> (Vec<ProducerData>, Vec<ConsumerData>) {
        let producers = self.producers.lock();
        let producers = producers.keys().map(|name| ProducerData { group_name: name.clone() }).collect();
        let consumers = self.consumers.lock().values().map(|group| group.data()).collect();
        (producers, consumers)
    }

    pub fn routes_changed(&self) {
        self.consumers.lock().values().for_each(|group| group.routes_changed());
    }

    fn consumer(&self, request: &Command, name: &'static str) -> Option<Arc<Group>> {
        self.consumers.lock().get(request.fields.get(name)?).cloned()
    }

    /// A broker wants to know what became of a transaction.
    fn check(&self, from: &Arc<Connection>, request: Command) {
        let asked = || -> Result<_, Error> {
            let message = stored::Message::take(&mut request.body.clone())
                .map_err(|error| Error::Nonsense(error.to_string()))?;
            let message = Received::from_stored(message, request.fields.get("bname").unwrap_or_default())?;
            let group = message.get(stored::properties::PRODUCER_GROUP).unwrap_or_default().to_owned();
            Ok((message, group))
        };
        let (message, group) = match asked() {
            Ok(asked) => asked,
            Err(error) => return tracing::warn!("{} asks for a transaction, but {error}", from.peer()),
        };
        let check = self.producers.lock().get(&group).and_then(|ours| ours.check.clone());
        let Some(check) = check else {
            return tracing::warn!(
                "{} asks for a transaction of '{group}', which has no check here",
                from.peer()
            );
        };
        let from = from.clone();
        tokio::spawn(async move {
            let decision = check(&message);
            from.tell(transaction::checked(&request, &message, &group, decision));
        });
    }

    /// An administrator wants a message consumed once more.
    fn consume_directly(&self, from: &Arc<Connection>, request: Command) {
        let broker = request.fields.get("brokerName").unwrap_or_default();
        let message = stored::Message::take(&mut request.body.clone())
            .map_err(|error| Error::Nonsense(error.to_string()))
            .and_then(|message| Received::from_stored(message, broker));
        let (group, message) = match (self.consumer(&request, "consumerGroup"), message) {
            (Some(group), Ok(message)) => (group, message),
            (None, _) => {
                let reply = request.reply(response::SYSTEM_ERROR).remark("this client has no such group");
                return from.reply(reply);
            }
            (_, Err(error)) => {
                return from.reply(request.reply(response::SYSTEM_ERROR).remark(error.to_string()));
            }
        };
        let from = from.clone();
        tokio::spawn(async move {
            let body = group.consume_directly(message).await;
            from.reply(request.reply(response::SUCCESS).body(body));
        });
    }
}

impl Handler for Callbacks {
    fn request(&self, from: &Arc<Connection>, request: Command) {
        match request.code {
            request::NOTIFY_CONSUMER_IDS_CHANGED => {
                if let Some(group) = self.consumer(&request, "consumerGroup") {
                    group.rebalance_soon();
                }
                from.reply(request.reply(response::SUCCESS));
            }
            request::CHECK_TRANSACTION_STATE => {
                from.reply(request.reply(response::SUCCESS));
                self.check(from, request);
            }
            request::RESET_CONSUMER_CLIENT_OFFSET => {
                let reply = match self.consumer(&request, "group").map(|group| group.reset(&request.body)) {
                    Some(Ok(())) => request.reply(response::SUCCESS),
                    Some(Err(error)) => request.reply(response::SYSTEM_ERROR).remark(error.to_string()),
                    None => request.reply(response::SYSTEM_ERROR).remark("this client has no such group"),
                };
                from.reply(reply);
            }
            request::GET_CONSUMER_RUNNING_INFO => {
                let reply = match self.consumer(&request, "consumerGroup") {
                    Some(group) => request.reply(response::SUCCESS).body(group.running()),
                    None => request.reply(response::SYSTEM_ERROR).remark("this client has no such group"),
                };
                from.reply(reply);
            }
            request::CONSUME_MESSAGE_DIRECTLY => self.consume_directly(from, request),
            code => {
                let name = request::name(code).unwrap_or("unknown");
                let remark = format!("this client does not know request {code} ({name})");
                from.reply(request.reply(response::REQUEST_CODE_NOT_SUPPORTED).remark(remark));
            }
        }
    }

    fn closed(&self, _connection: &Arc<Connection>) {}
}
