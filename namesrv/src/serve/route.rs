//! Where a topic is: 105; who is there: 106.

use protocol::remoting::Command;

use super::settings::ORDERS_MESSAGES;
use super::{Answer, Asker, with_body};
use crate::kept::ORDERED;
use crate::{Error, NameServer, count};

impl NameServer {
    pub(super) fn route(&self, asker: Asker, request: &Command) -> Result<Answer, Error> {
        let topic = request.fields.text("topic")?;
        let Some(mut route) = self.registry.lock().route(topic, asker.ip()) else {
            count(&self.counts.routes_missing);
            return Err(Error::NoTopic(format!(
                "No topic route info in name server for the topic: {topic}. No broker that is registered here has it: \
                 create it, or send to it where brokers create topics by themselves"
            )));
        };
        let kept = self.kept();
        if kept.is_on(ORDERS_MESSAGES) {
            route.order_topic_conf = kept.get(ORDERED, topic).map(Into::into);
        }
        count(&self.counts.routes);
        Ok(with_body(request, &route))
    }

    pub(super) fn cluster_info(&self, asker: Asker, request: &Command) -> Result<Answer, Error> {
        Ok(with_body(request, &self.registry.lock().cluster_info(asker.ip())))
    }
}
