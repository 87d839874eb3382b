//! What operators ask for: the codes behind RocketMQ's tools, one subject a file.
//!
//! A change is a record of the virtual broker's log like everything else, and is answered once it is acknowledged.
//! What is told of groups counts commits that were made, whether or not they waited in memory.

mod clients;
mod clone;
mod config;
mod connections;
mod correction;
mod groups;
mod log;
mod offsets;
mod positions;
mod progress;
mod rates;
mod reset;
mod rows;
mod runtime;
mod spans;
mod stats;
mod subscriptions;
mod topics;

use std::sync::Arc;

use protocol::remoting::Command;
use protocol::remoting::code::request as code;
use protocol::remoting::code::response;
use serde::Serialize;

use crate::serve::Served;
use crate::serve::answer::{Answer, Refusal, refuse};
use crate::state::Topic;
use crate::vb::{Core, CoreGuard, Effect, Now, Outcome};

pub use rates::Rates;
pub(crate) use rates::watch;

/// Answers a request that is an operator's; gives others back.
pub(crate) fn dispatch(served: &Arc<Served>, request: &Command, answer: Answer) -> Option<Answer> {
    match request.code {
        code::UPDATE_AND_CREATE_TOPIC => topics::update(served, request, answer),
        code::UPDATE_AND_CREATE_TOPIC_LIST => topics::update_many(served, request, answer),
        code::DELETE_TOPIC_IN_BROKER => topics::delete(served, request, answer),
        code::GET_ALL_TOPIC_CONFIG => topics::all(served, answer),
        code::GET_TOPIC_CONFIG => topics::one(served, request, answer),
        code::GET_SYSTEM_TOPIC_LIST_FROM_BROKER => topics::system(served, answer),
        code::GET_TOPIC_STATS_INFO => stats::of_topic(served, request, answer),
        code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => groups::update(served, request, answer),
        code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST => groups::update_many(served, request, answer),
        code::DELETE_SUBSCRIPTIONGROUP => groups::delete(served, request, answer),
        code::GET_ALL_SUBSCRIPTIONGROUP_CONFIG => groups::all(served, answer),
        code::GET_SUBSCRIPTIONGROUP_CONFIG => groups::one(served, request, answer),
        code::GET_CONSUMER_CONNECTION_LIST => connections::consumers(served, request, answer),
        code::GET_PRODUCER_CONNECTION_LIST => connections::producers(served, request, answer),
        code::GET_ALL_PRODUCER_INFO => connections::all_producers(served, answer),
        code::QUERY_TOPIC_CONSUME_BY_WHO => subscriptions::groups_of(served, request, answer),
        code::QUERY_TOPICS_BY_CONSUMER => subscriptions::topics_of(served, request, answer),
        code::QUERY_SUBSCRIPTION_BY_CONSUMER => subscriptions::one(served, request, answer),
        code::GET_CONSUME_STATS => progress::of_group(served, request, answer),
        code::GET_BROKER_CONSUME_STATS => progress::of_all(served, request, answer),
        code::QUERY_CONSUME_TIME_SPAN => spans::of_topic(served, request, answer),
        code::UPDATE_BROKER_CONFIG => config::update(served, request, answer),
        code::GET_BROKER_CONFIG => config::show(served, answer),
        code::GET_BROKER_RUNTIME_INFO => runtime::show(served, answer),
        code::VIEW_BROKER_STATS_DATA => stats::of_key(served, request, answer),
        code::INVOKE_BROKER_TO_RESET_OFFSET => reset::reset(served, request, answer),
        code::INVOKE_BROKER_TO_GET_CONSUMER_STATUS => positions::of_members(served, request, answer),
        code::QUERY_CORRECTION_OFFSET => correction::offsets(served, request, answer),
        code::CLONE_GROUP_OFFSET => clone::clone(served, request, answer),
        code::GET_CONSUMER_RUNNING_INFO => clients::running_info(served, request, answer),
        code::CONSUME_MESSAGE_DIRECTLY => clients::consume(served, request, answer),
        code::QUERY_CONSUME_QUEUE => rows::show(served, request, answer),
        code::GET_ALL_CONSUMER_OFFSET => offsets::consumers(served, answer),
        code::GET_ALL_DELAY_OFFSET => offsets::delays(served, answer),
        code::STRATA_LOG => log::show(served, answer),
        // What expires goes by itself, and there is nothing unused to be cleaned: all is as these want it.
        code::CLEAN_EXPIRED_CONSUMEQUEUE | code::CLEAN_UNUSED_TOPIC | code::DELETE_EXPIRED_COMMITLOG => {
            answer.done();
        }
        _ => return Some(answer),
    }
    None
}

/// Answers once everything that was staged is acknowledged. The virtual broker MUST be driven afterwards.
fn when_settled(core: CoreGuard<'_>, now: Now, answer: Answer, reply: Command) {
    once_settled(core, now, |outcome| answer.if_stored(outcome, |answer| answer.reply(reply)));
}

/// Runs `then` once everything that was staged is acknowledged, or will not be. The virtual broker MUST be driven
/// afterwards.
fn once_settled(mut core: CoreGuard<'_>, now: Now, then: impl FnOnce(Outcome) + Send + 'static) {
    if core.acknowledged() >= core.staged() {
        drop(core);
        return then(Outcome::Acknowledged);
    }
    core.then(Effect::call(then), now);
}

/// Runs `then` once all commits that were made are acknowledged.
fn with_commits(
    served: &Arc<Served>,
    answer: Answer,
    then: impl FnOnce(&Arc<Served>, Answer) + Send + 'static,
) {
    let now = served.vb.now();
    let mut commits = served.commits.lock();
    let mut core = served.vb.core();
    if let Err(refused) = commits.flush(&mut core, now) {
        return answer.refuse(refused.into());
    }
    if !commits.unsettled(&core) {
        drop((commits, core));
        return then(served, answer);
    }
    let served = served.clone();
    let settled = move |outcome| answer.if_stored(outcome, |answer| then(&served, answer));
    core.then(Effect::call(settled), now);
}

fn body(answer: &Answer, value: &impl Serialize) -> Command {
    answer.draft(response::SUCCESS).body(protocol::body::json::write(value))
}

/// As [`body`], for maps by queue.
fn keyed(answer: &Answer, value: &impl Serialize) -> Command {
    answer.draft(response::SUCCESS).body(protocol::body::json::write_keyed(value))
}

fn topic_of(core: &Core, name: &str) -> Result<Arc<Topic>, Refusal> {
    match core.state().topic(name) {
        Some(topic) => Ok(topic.clone()),
        None => refuse(response::TOPIC_NOT_EXIST, format!("topic[{name}] not exist")),
    }
}
