//! Who is connected: of a consumer group (203), of a producer group (204), producers of all groups (328).

use std::sync::Arc;

use net::remoting::Connection;
use protocol::body::connection::{
    Connected, ConsumerConnection, ProducerConnection, ProducerInfo, ProducerTable,
};
use protocol::remoting::Command;
use protocol::remoting::code::response;

use super::body;
use crate::members::Member;
use crate::serve::Served;
use crate::serve::answer::{Answer, Refusal, refuse};

fn connected(member: &Member<Arc<Connection>>) -> Connected {
    Connected {
        client_addr: member.handle.peer().to_string(),
        client_id: member.client.to_string(),
        language: member.language.name().into(),
        version: member.version,
    }
}

/// 203
pub(super) fn consumers(served: &Arc<Served>, request: &Command, answer: Answer) {
    let found = request.fields.text("consumerGroup").map_err(Refusal::from).and_then(|group| {
        let members = served.members.lock();
        let Some(consumers) = members.consumers(group).filter(|group| !group.members.is_empty()) else {
            let remark = format!("the consumer group[{group}] not online");
            return refuse(response::CONSUMER_NOT_ONLINE, remark);
        };
        let subscriptions = consumers.subscriptions.iter();
        Ok(ConsumerConnection {
            connection_set: consumers.members.values().map(connected).collect(),
            consume_from_where: consumers.facts.from_where.clone(),
            consume_type: consumers.facts.consume_type.clone(),
            message_model: consumers.facts.message_model.clone(),
            subscription_table: subscriptions
                .map(|(topic, subscription)| (topic.to_string(), (**subscription).clone()))
                .collect(),
        })
    });
    let reply = found.map(|found| body(&answer, &found));
    answer.give(reply);
}

/// 204
pub(super) fn producers(served: &Arc<Served>, request: &Command, answer: Answer) {
    let found = request.fields.text("producerGroup").map_err(Refusal::from).and_then(|group| {
        let members = served.members.lock();
        match members.producers(group).filter(|group| !group.is_empty()) {
            Some(group) => Ok(ProducerConnection { connection_set: group.values().map(connected).collect() }),
            None => refuse(response::SYSTEM_ERROR, format!("the producer group[{group}] not exist")),
        }
    });
    let reply = found.map(|found| body(&answer, &found));
    answer.give(reply);
}

/// 328
pub(super) fn all_producers(served: &Arc<Served>, answer: Answer) {
    let now = served.vb.now();
    let members = served.members.lock();
    let info = |member: &Member<Arc<Connection>>| ProducerInfo {
        client_id: member.client.to_string(),
        language: member.language.name().into(),
        last_update_timestamp: now.wall - now.at.saturating_sub(member.seen).as_millis() as i64,
        remote_ip: member.handle.peer().to_string(),
        version: member.version,
    };
    let data = members
        .all_producers()
        .map(|(group, members)| (group.to_string(), members.values().map(info).collect()))
        .collect();
    drop(members);
    let reply = body(&answer, &ProducerTable { data });
    answer.reply(reply);
}
