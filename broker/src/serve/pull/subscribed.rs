//! What a group said it wants of a topic: with the pull, or in its heartbeat.

use protocol::body::heartbeat::Subscription;
use protocol::remoting::code::response;
use protocol::remoting::header::Pull;

use super::denied::{By, Denied, forbid};
use crate::members::Consumers;
use crate::serve::Served;
use crate::serve::answer::{Refusal, refuse};
use crate::serve::filter::Filter;
use crate::state::Group;

pub(super) fn filter(served: &Served, pull: &Pull<'_>, group: &Group) -> Result<Filter, Denied> {
    if let Some(kind) = pull.expression_type.filter(|kind| *kind != "TAG") {
        return Ok(not_by(kind)?);
    }
    if let Some(text) = pull.subscription {
        let subscription = Subscription::by_tags(pull.topic, text).map_err(|wrong| Refusal {
            code: response::SUBSCRIPTION_PARSE_FAILED,
            remark: format!("parse the consumer's subscription failed: {wrong}"),
        })?;
        return Ok(Filter::of(&subscription));
    }
    let members = served.members.lock();
    let consumers = members.consumers(pull.group);
    if !group.broadcast && consumers.is_some_and(Consumers::is_broadcast) {
        let remark = format!("the consumer group[{}] can not consume by broadcast way", pull.group);
        return forbid(By::Broadcast, remark);
    }
    Ok(subscribed(consumers, pull)?)
}

/// What the group's members said in their heartbeats.
fn subscribed<C>(consumers: Option<&Consumers<C>>, pull: &Pull<'_>) -> Result<Filter, Refusal> {
    let Some(consumers) = consumers else {
        return refuse(response::SUBSCRIPTION_NOT_EXIST, "the consumer's group info not exist");
    };
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
