//! What a group said it wants of a topic: with the pull, or in its heartbeat.

use protocol::body::heartbeat::Subscription;
use protocol::remoting::code::response;
use protocol::remoting::header::Pull;

use crate::serve::Served;
use crate::serve::answer::{Refusal, refuse};
use crate::serve::filter::Filter;
use crate::state::Group;

pub(super) fn filter(served: &Served, pull: &Pull<'_>, group: &Group) -> Result<Filter, Refusal> {
    if pull.expression_type.is_some_and(|kind| kind != "TAG") {
        return not_by(pull.expression_type.unwrap_or_default());
    }
    if let Some(text) = pull.subscription {
        return match Subscription::by_tags(pull.topic, text) {
            Ok(subscription) => Ok(Filter::of(&subscription)),
            Err(wrong) => {
                let remark = format!("parse the consumer's subscription failed: {wrong}");
                refuse(response::SUBSCRIPTION_PARSE_FAILED, remark)
            }
        };
    }
    let members = served.members.lock();
    let Some(consumers) = members.consumers(pull.group) else {
        return refuse(response::SUBSCRIPTION_NOT_EXIST, "the consumer's group info not exist");
    };
    if !group.broadcast && consumers.is_broadcast() {
        let remark = format!("the consumer group[{}] can not consume by broadcast way", pull.group);
        return refuse(response::NO_PERMISSION, remark);
    }
    let Some(subscription) = consumers.subscriptions.get(pull.topic) else {
        return refuse(response::SUBSCRIPTION_NOT_EXIST, "the consumer's subscription not exist");
    };
    if subscription.sub_version < pull.sub_version {
        return refuse(response::SUBSCRIPTION_NOT_LATEST, "the consumer's subscription not latest");
    }
    if !subscription.is_by_tags() {
        return not_by(&subscription.expression_type);
    }
    Ok(Filter::of(subscription))
}

pub(in crate::serve) fn not_by<T>(kind: &str) -> Result<T, Refusal> {
    let kind: String = kind.chars().take(32).collect();
    let remark = format!("filtering by {kind} expressions is not supported by this release: filter by tags");
    refuse(response::REQUEST_CODE_NOT_SUPPORTED, remark)
}
