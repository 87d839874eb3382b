//! Which groups read a topic (300), which topics a group reads (343), and how (345).

use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::body::connection::SubscriptionOf;
use protocol::body::group::GroupList;
use protocol::body::topic::TopicList;
use protocol::remoting::Command;
use protocol::remoting::code::response;

use super::{body, with_commits};
use crate::serve::Served;
use crate::serve::answer::{Answer, Refusal, refuse};

/// 300: groups that are subscribed to it now, or have committed anything in it.
pub(super) fn groups_of(served: &Arc<Served>, request: &Command, answer: Answer) {
    let name = match request.fields.text("topic") {
        Ok(name) => name.to_owned(),
        Err(bad) => return answer.refuse(bad.into()),
    };
    with_commits(served, answer, move |served, answer| {
        let mut groups: BTreeSet<String> = BTreeSet::new();
        for (group, consumers) in served.members.lock().all_consumers() {
            if consumers.subscriptions.contains_key(&*name) {
                groups.insert(group.to_string());
            }
        }
        let core = served.vb.core();
        if let Some(topic) = core.state().topic(&name) {
            let offsets = core.state().offsets();
            let reads = |group: &&Arc<str>| offsets.of_group(group).any(|(id, ..)| id == topic.id);
            groups.extend(offsets.groups().filter(reads).map(|group| group.to_string()));
        }
        drop(core);
        let reply = body(&answer, &GroupList { group_list: groups.into_iter().collect() });
        answer.reply(reply);
    });
}

/// The topics in which a group has committed anything.
pub(super) fn committed_topics(served: &Served, group: &str) -> BTreeSet<String> {
    let core = served.vb.core();
    let ids = core.state().offsets().of_group(group).map(|(id, ..)| id);
    ids.filter_map(|id| Some(core.state().topic_of(id)?.name.to_string())).collect()
}

/// 343
pub(super) fn topics_of(served: &Arc<Served>, request: &Command, answer: Answer) {
    let group = match request.fields.text("group") {
        Ok(group) => group.to_owned(),
        Err(bad) => return answer.refuse(bad.into()),
    };
    with_commits(served, answer, move |served, answer| {
        let topics = committed_topics(served, &group).into_iter().collect();
        let list = TopicList { broker_addr: Some(served.vb.address.to_string()), topic_list: topics };
        let reply = body(&answer, &list);
        answer.reply(reply);
    });
}

/// 345
pub(super) fn one(served: &Arc<Served>, request: &Command, answer: Answer) {
    let found = || -> Result<SubscriptionOf, Refusal> {
        let (group, topic) = (request.fields.text("group")?, request.fields.text("topic")?);
        let members = served.members.lock();
        let Some(consumers) = members.consumers(group) else {
            return refuse(response::CONSUMER_NOT_ONLINE, format!("the consumer group[{group}] not online"));
        };
        let subscription = consumers.subscriptions.get(topic).map(|subscription| (**subscription).clone());
        Ok(SubscriptionOf { group: group.into(), subscription_data: subscription, topic: topic.into() })
    };
    let reply = found().map(|found| body(&answer, &found));
    answer.give(reply);
}
