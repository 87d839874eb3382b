//! Topics as lists, and what operators change about them here: 206, 224, 304, 311–313, 216, 217, 205, 327.

use protocol::body::json;
use protocol::body::route::TopicRoute;
use protocol::body::topic::TopicList;
use protocol::remoting::Command;
use protocol::remoting::code::{request as ask, response};

use super::{Answer, Asker, done, with_body};
use crate::routes::Units;
use crate::{Error, NameServer};

fn listed(request: &Command, topic_list: Vec<String>) -> Answer {
    with_body(request, &TopicList { broker_addr: None, topic_list })
}

impl NameServer {
    pub(super) fn all_topics(&self, request: &Command) -> Result<Answer, Error> {
        Ok(listed(request, self.registry.lock().all_topics()))
    }

    pub(super) fn topics_of(&self, request: &Command) -> Result<Answer, Error> {
        Ok(listed(request, self.registry.lock().topics_of(request.fields.text("cluster")?)))
    }

    pub(super) fn system_topics(&self, asker: Asker, request: &Command) -> Result<Answer, Error> {
        let (topic_list, broker_addr) = self.registry.lock().system_topics(asker.ip());
        Ok(with_body(request, &TopicList { broker_addr, topic_list }))
    }

    pub(super) fn unit_topics(&self, request: &Command) -> Result<Answer, Error> {
        let which = match request.code {
            ask::GET_UNIT_TOPIC_LIST => Units::Unit,
            ask::GET_HAS_UNIT_SUB_TOPIC_LIST => Units::Subscribed,
            _ => Units::SubscribedOnly,
        };
        Ok(listed(request, self.registry.lock().unit_topics(which)))
    }

    pub(super) fn delete_topic(&self, request: &Command) -> Result<Answer, Error> {
        let cluster = request.fields.get("clusterName").filter(|name| !name.is_empty());
        self.registry.lock().delete_topic(request.fields.text("topic")?, cluster);
        Ok(done(request))
    }

    pub(super) fn add_topic(&self, request: &Command) -> Result<Answer, Error> {
        let route: TopicRoute = json::read(&request.body)?;
        self.registry.lock().add_topic(request.fields.text("topic")?, route.queue_datas)?;
        Ok(done(request))
    }

    pub(super) fn set_read_only(&self, request: &Command, read_only: bool) -> Result<Answer, Error> {
        let name = request.fields.text("brokerName")?;
        let topics = self.registry.lock().set_read_only(name, read_only);
        let change = if read_only { "taken from" } else { "given back to" };
        tracing::info!("the write permission was {change} {topics} topics of {name}");
        let field = if read_only { "wipeTopicCount" } else { "addTopicCount" };
        Ok(Answer::Now(request.reply(response::SUCCESS).with(field, topics)))
    }
}
