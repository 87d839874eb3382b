//! Clients that come, stay and go (34, 35), who else is there (38), and the check of a subscription (46).

use std::sync::Arc;
use std::time::Duration;

use protocol::body::heartbeat::{CheckClient, ConsumerData, ConsumerList, Heartbeat};
use protocol::body::json;
use protocol::remoting::Command;
use protocol::remoting::code::{request as code, response};

use super::Served;
use super::answer::{Answer, Refusal, refuse};
use super::door::VIP;
use super::pull::not_by;
use super::put::derived_topic;
use crate::members::{Changed, Consumers, Member, Members};
use crate::state::topic::RETRY_PREFIX;
use crate::state::{Change, topic};
use crate::vb::{Core, Effect, Now, Outcome, Record};
use net::remoting::Connection;

/// What an owner before this one knew of members and locks counts for so long.
pub(super) const REMEMBERED: Duration = Duration::from_secs(60);
/// A client that is silent for longer is gone.
pub(super) const SILENT: Duration = Duration::from_secs(120);
/// The most groups that one heartbeat names.
const MOST_GROUPS: usize = 10_000;

/// 34
pub(super) fn heard(served: &Arc<Served>, request: &Command, answer: Answer) {
    let heartbeat: Heartbeat = match json::read(&request.body) {
        Ok(heartbeat) => heartbeat,
        Err(malformed) => return answer.refuse(malformed.into()),
    };
    if let Err(refusal) = check(&heartbeat) {
        return answer.refuse(refusal);
    }
    let now = served.vb.now();
    let member = Member {
        client: heartbeat.client_id.as_str().into(),
        language: request.language,
        version: request.version,
        handle: answer.connection().clone(),
        seen: now.at,
    };
    let (resend, changed) = take(served, &heartbeat, &member, now);
    let reply =
        answer.draft(response::SUCCESS).with("IS_SUPPORT_HEART_BEAT_V2", true).with("IS_SUB_CHANGE", resend);
    let mut core = served.vb.core();
    if !served.unsettled(&core) {
        drop(core);
        return answered(served, answer, reply, &changed);
    }
    // A client that goes on to use its groups shall find them, whoever serves it then.
    let served = served.clone();
    core.then(
        Effect::call(move |outcome| match outcome {
            Outcome::Fenced => answer.refuse(super::offsets::moved()),
            _ => answered(&served, answer, reply, &changed),
        }),
        now,
    );
}

/// The answer comes before the notice: a client of RocketMQ that is told to look again while it waits for the answer to
/// its heartbeat cannot send the next one, which says what its subscriptions have become, and is refused its pulls.
fn answered(served: &Served, answer: Answer, reply: Command, changed: &[Arc<str>]) {
    answer.reply(reply);
    changed.iter().for_each(|group| tell(served, group));
}

fn check(heartbeat: &Heartbeat) -> Result<(), Refusal> {
    if heartbeat.client_id.is_empty() {
        return refuse(response::SYSTEM_ERROR, "the heartbeat has no clientID");
    }
    let groups = heartbeat.producer_data_set.len() + heartbeat.consumer_data_set.len();
    if groups > MOST_GROUPS {
        let remark = format!("the heartbeat names {groups} groups: {MOST_GROUPS} is the most");
        return refuse(response::SYSTEM_ERROR, remark);
    }
    let producers = heartbeat.producer_data_set.iter().map(|data| &data.group_name);
    let names = producers.chain(heartbeat.consumer_data_set.iter().map(|data| &data.group_name));
    match names.filter_map(|name| topic::wrong_group(name)).next() {
        Some(why) => refuse(response::SYSTEM_ERROR, why),
        None => Ok(()),
    }
}

/// Takes in what a client says; returns whether it has to say its subscriptions again, and the groups whose members
/// are to be told.
fn take(
    served: &Served,
    heartbeat: &Heartbeat,
    member: &Member<Arc<Connection>>,
    now: Now,
) -> (bool, Vec<Arc<str>>) {
    let mut rebalance = Vec::new();
    let channel = member.handle.id();
    let fingerprint = heartbeat.heartbeat_fingerprint;
    for producer in &heartbeat.producer_data_set {
        served.members.lock().heard_producer(channel, &producer.group_name, member.clone());
    }
    let mut resend = fingerprint == 0;
    for data in &heartbeat.consumer_data_set {
        if fingerprint != 0 && heartbeat.without_sub {
            let mut members = served.members.lock();
            let known = members.knows(channel, &data.group_name, fingerprint);
            resend |= !known;
            if known {
                members.heard_again(channel, &data.group_name, now.at);
            }
            continue;
        }
        if let Err(refusal) = prepare(served, data, now) {
            tracing::warn!("group {} of client {}: {}", data.group_name, member.client, refusal.remark);
            continue;
        }
        let mut members = served.members.lock();
        let changed = members.heard_consumer(channel, data, fingerprint, member.clone());
        let mut core = served.vb.core();
        record_member(&mut core, &changed.group, &member.client, now);
        rebalance.extend(recorded(&mut core, changed, now));
    }
    (resend, rebalance)
}

/// Makes the group and its retry topic, if they are not there.
fn prepare(served: &Served, data: &ConsumerData, now: Now) -> Result<(), Refusal> {
    let mut core = served.vb.core();
    let group = served.group(&mut core, &data.group_name, now)?;
    let retry = format!("{RETRY_PREFIX}{}", data.group_name);
    if core.state().topic(&retry).is_none() {
        served.topic_made(&mut core, |core| derived_topic(core, &retry, group.retry_queues, now))?;
    }
    Ok(())
}

/// Takes clients out of groups, with a record of it and word to the other members. Nobody comes in between: of a client
/// that leaves and is back at once, the record of its coming is the last.
pub(super) fn part<C: IntoIterator<Item = Changed>>(
    served: &Served,
    now: Now,
    part: impl FnOnce(&mut Members<Arc<Connection>>) -> C,
) {
    let changed: Vec<_> = {
        let mut members = served.members.lock();
        let changes = part(&mut members);
        let mut core = served.vb.core();
        changes.into_iter().filter_map(|changed| recorded(&mut core, changed, now)).collect()
    };
    changed.iter().for_each(|group| tell(served, group));
}

/// Records who has left a group; returns the group if its members are to be told.
fn recorded(core: &mut Core, changed: Changed, now: Now) -> Option<Arc<str>> {
    let Changed { group, left, rebalance } = changed;
    if let Some(client) = left {
        write_down(core, &Change::Left { group: group.clone(), client }, now);
    }
    rebalance.then_some(group)
}

/// Records that a client is in a group, unless that is known: also if the group was deleted while the client was there.
fn record_member(core: &mut Core, group: &Arc<str>, client: &Arc<str>, now: Now) {
    if !core.state().remembered(group).is_some_and(|remembered| remembered.members.contains(client)) {
        write_down(core, &Change::Joined { group: group.clone(), client: client.clone() }, now);
    }
}

/// Only what is written down survives the owner; that it could not be written down harms nobody who is here.
fn write_down(core: &mut Core, change: &Change, now: Now) {
    if let Err(refused) = core.stage(&[Record::Change(change)], now) {
        tracing::debug!("a change of members was not recorded: {refused}");
    }
}

/// Tells the members of a group to look again at who has which queue.
pub(crate) fn tell(served: &Served, group: &Arc<str>) {
    let wanted = {
        let core = served.vb.core();
        let state = core.state();
        state.settings().notify_members && state.group(group).is_none_or(|group| group.notify)
    };
    if !wanted {
        return;
    }
    let members = served.members.lock();
    let handles: Vec<Arc<Connection>> = members
        .consumers(group)
        .map(|consumers| consumers.members.values().map(|member| member.handle.clone()).collect())
        .unwrap_or_default();
    drop(members);
    for handle in handles {
        handle.tell(Command::one_way(code::NOTIFY_CONSUMER_IDS_CHANGED).with("consumerGroup", group));
    }
}

/// 35
pub(super) fn left(served: &Arc<Served>, request: &Command, answer: Answer) {
    let fields = &request.fields;
    if let Err(missing) = fields.text("clientID") {
        return answer.refuse(missing.into());
    }
    let consumer = fields.get("consumerGroup").filter(|group| !group.is_empty());
    let producer = fields.get("producerGroup").filter(|group| !group.is_empty());
    let channel = answer.connection().id();
    part(served, served.vb.now(), |members| members.unregister(channel, consumer, producer));
    answer.done();
}

/// 38
pub(super) fn list(served: &Arc<Served>, request: &Command, answer: Answer) {
    let reply = request.fields.text("consumerGroup").map_err(Refusal::from).and_then(|group| {
        let clients = clients(served, group, answer.connection())?;
        let list = ConsumerList { consumer_id_list: clients };
        Ok(answer.draft(response::SUCCESS).body(json::write(&list)))
    });
    answer.give(reply);
}

/// Who is in a group, those included that were there a moment ago, before this owner. A list without the asker would
/// take its queues away: it gets an error instead, and keeps them. So does who has not said who it is: most clients whose
/// connection broke ask by the next one up to 30 s before their heartbeat. (Only members ask this; tools use 203.)
fn clients(served: &Served, group: &str, asker: &Connection) -> Result<Vec<String>, Refusal> {
    let members = served.members.lock();
    let mut clients = members.consumers(group).map(Consumers::clients).unwrap_or_default();
    if served.remembers() {
        let core = served.vb.core();
        clients.extend(
            core.state().remembered(group).into_iter().flat_map(|known| known.members.iter().cloned()),
        );
    }
    let is_there = match members.client_of(asker.id()) {
        Some(asker) => clients.contains(asker),
        // By the lower port nobody ever says it.
        None => asker.local().port().checked_add(VIP) == Some(served.vb.address.port()),
    };
    if clients.is_empty() || !is_there {
        let remark = format!("no consumer for this group, {group}, or no heartbeat of the one who asks");
        return refuse(response::SYSTEM_ERROR, remark);
    }
    Ok(clients.into_iter().map(|client| client.to_string()).collect())
}

/// 46
pub(super) fn check_client(request: &Command, answer: Answer) {
    let checked = json::read::<CheckClient>(&request.body).map_err(Refusal::from).and_then(|told| match told
        .subscription_data
        .filter(|subscription| !subscription.is_by_tags())
    {
        Some(subscription) => not_by(&subscription.expression_type),
        None => Ok(answer.draft(response::SUCCESS)),
    });
    answer.give(checked);
}
