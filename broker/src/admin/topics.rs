//! Topics: made and changed (17, 18), deleted (215), told (21, 351, 305).

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::body::json;
use protocol::body::topic::{TopicConfig, TopicList};
use protocol::remoting::Command;
use protocol::remoting::code::response;
use serde::Deserialize;

use super::{body, once_settled, topic_of, when_settled};
use crate::serve::answer::{Answer, Refusal, refuse};
use crate::serve::put::make_topic;
use crate::serve::{Served, told};
use crate::state::topic::{self, MAX_QUEUES, perm};
use crate::state::{Change, Topic};
use crate::vb::{Core, Now, Record};

/// The most topics of one request.
const MOST: usize = 10_000;

/// What a request makes of a topic. `attributes` has the signs that say what is added and what is removed.
struct Wanted {
    name: String,
    read_queues: i32,
    write_queues: i32,
    perm: i32,
    order: bool,
    sys_flag: i32,
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TopicConfigs {
    topic_config_list: Vec<TopicConfig>,
}

/// 17
pub(super) fn update(served: &Arc<Served>, request: &Command, answer: Answer) {
    let fields = &request.fields;
    let read = || -> Result<Wanted, Refusal> {
        Ok(Wanted {
            name: fields.text("topic")?.into(),
            read_queues: fields.number("readQueueNums")?,
            write_queues: fields.number("writeQueueNums")?,
            perm: fields.number("perm")?,
            order: fields.is_true("order"),
            sys_flag: fields.number_or("topicSysFlag", 0)?,
            attributes: attributes(fields.get("attributes").unwrap_or_default())?,
        })
    };
    match read() {
        Ok(wanted) => change(served, &[wanted], answer),
        Err(refusal) => answer.refuse(refusal),
    }
}

/// 18
pub(super) fn update_many(served: &Arc<Served>, request: &Command, answer: Answer) {
    let list: TopicConfigs = match json::read(&request.body) {
        Ok(list) => list,
        Err(malformed) => return answer.refuse(malformed.into()),
    };
    if list.topic_config_list.len() > MOST {
        let remark = format!("at most {MOST} topics are taken in one request");
        return answer.refuse(Refusal { code: response::SYSTEM_ERROR, remark });
    }
    let wanted = |told: TopicConfig| Wanted {
        name: told.topic_name,
        read_queues: told.read_queue_nums,
        write_queues: told.write_queue_nums,
        perm: told.perm,
        order: told.order,
        sys_flag: told.topic_sys_flag,
        attributes: told.attributes,
    };
    let wanted: Vec<Wanted> = list.topic_config_list.into_iter().map(wanted).collect();
    change(served, &wanted, answer);
}

/// All or, if one is refused, none of those that come after it.
fn change(served: &Arc<Served>, wanted: &[Wanted], answer: Answer) {
    let now = served.vb.now();
    let mut core = served.vb.core();
    let changed = served.topic_made(&mut core, |core| {
        wanted.iter().try_for_each(|wanted| wanted.check(served).and_then(|()| wanted.apply(core, now)))
    });
    match changed {
        Ok(()) => {
            let answered = served.once_known(&core, |outcome| answer.done_if_stored(outcome));
            once_settled(core, now, answered);
        }
        Err(refusal) => answer.refuse(refusal),
    }
}

impl Wanted {
    fn check(&self, served: &Served) -> Result<(), Refusal> {
        let Wanted { name, read_queues, write_queues, perm: wanted, .. } = self;
        if let Some(why) = topic::wrong_name(name) {
            return refuse(response::INVALID_PARAMETER, why);
        }
        not_ours(served, name)?;
        let most = i32::from(MAX_QUEUES);
        if ![read_queues, write_queues].into_iter().all(|count| (1..=most).contains(count)) {
            let remark = format!(
                "{read_queues} read and {write_queues} write queues cannot be: 1 to {most} are taken"
            );
            return refuse(response::INVALID_PARAMETER, remark);
        }
        if !(0..=i32::from(perm::ALL)).contains(wanted) {
            let remark = format!("perm {wanted} cannot be: 2 is write, 4 is read, 6 is both");
            return refuse(response::INVALID_PARAMETER, remark);
        }
        Ok(())
    }

    fn apply(&self, core: &mut Core, now: Now) -> Result<(), Refusal> {
        let old = core.state().topic(&self.name).cloned();
        let id = old.as_ref().map_or_else(|| core.state().next_topic(), |old| old.id);
        let kept = old.as_ref().map(|old| old.attributes.clone()).unwrap_or_default();
        let topic = Topic {
            read_queues: self.read_queues as u16,
            write_queues: self.write_queues as u16,
            order: self.order,
            sys_flag: self.sys_flag as u32,
            attributes: merged(kept, &self.attributes, old.is_none())?,
            ..Topic::new(id, &self.name, 1, self.perm as u8)
        };
        match old {
            Some(old) if *old == topic => Ok(()),
            Some(_) => Ok(core.stage(&[Record::Change(&Change::Topic(topic))], now).map(|_| ())?),
            None => make_topic(core, topic, now).map(|_| ()),
        }
    }
}

/// Nobody changes or deletes what a virtual broker needs for itself.
fn not_ours(served: &Served, name: &str) -> Result<(), Refusal> {
    if !served.is_system(name) {
        return Ok(());
    }
    refuse(response::INVALID_PARAMETER, format!("The topic[{name}] is conflict with system topic."))
}

/// `+key=value,-key`, as tools write it.
fn attributes(text: &str) -> Result<BTreeMap<String, String>, Refusal> {
    let mut all = BTreeMap::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        if all.insert(key.to_owned(), value.to_owned()).is_some() {
            return refuse(response::SYSTEM_ERROR, format!("kv string format wrong. duplicated key: {key}"));
        }
    }
    Ok(all)
}

/// RocketMQ's attributes of topics and ours, and what each may be.
fn checked(key: &str, value: &str) -> Result<(), Refusal> {
    let among = |allowed: &[&str]| allowed.contains(&value);
    let fits = match key {
        "message.type" => among(&["NORMAL", "FIFO", "DELAY", "TRANSACTION", "MIXED", "UNSPECIFIED"]),
        "queue.type" => among(&["SimpleCQ", "BatchCQ"]),
        "cleanup.policy" => among(&["DELETE", "COMPACTION"]),
        topic::DURABILITY => among(&["sync", "async"]),
        topic::KEPT_BYTES => value.parse::<i64>().is_ok_and(|bytes| bytes >= -1),
        "reserve.time" => value.parse::<i64>().is_ok_and(|ms| ms >= -1),
        _ => return refuse(response::SYSTEM_ERROR, format!("unsupported key: {key}")),
    };
    if fits {
        Ok(())
    } else {
        refuse(response::SYSTEM_ERROR, format!("value '{value}' is not in set for key {key}"))
    }
}

/// What the attributes come to.
fn merged(
    mut kept: BTreeMap<String, String>,
    changes: &BTreeMap<String, String>,
    new: bool,
) -> Result<BTreeMap<String, String>, Refusal> {
    for (signed, value) in changes {
        match (signed.strip_prefix('+'), signed.strip_prefix('-')) {
            (Some(key), _) => {
                checked(key, value)?;
                kept.insert(key.to_owned(), value.clone());
            }
            (_, Some(_)) if new => {
                return refuse(
                    response::SYSTEM_ERROR,
                    "only add attribute is supported while creating topic",
                );
            }
            (_, Some(key)) => {
                if kept.remove(key).is_none() {
                    let remark = format!("attempt to delete a nonexistent key: {key}");
                    return refuse(response::SYSTEM_ERROR, remark);
                }
            }
            (None, None) => {
                let remark = format!("add/alter attribute format is wrong: {signed}");
                return refuse(response::SYSTEM_ERROR, remark);
            }
        }
    }
    Ok(kept)
}

/// 215
pub(super) fn delete(served: &Arc<Served>, request: &Command, answer: Answer) {
    let name = match request.fields.text("topic") {
        Ok(name) => name,
        Err(bad) => return answer.refuse(bad.into()),
    };
    if name.trim().is_empty() {
        let remark = "The specified topic is blank.".into();
        return answer.refuse(Refusal { code: response::SYSTEM_ERROR, remark });
    }
    if let Err(refusal) = not_ours(served, name) {
        return answer.refuse(refusal);
    }
    let now = served.vb.now();
    let mut core = served.vb.core();
    let deleted = served.topic_made(&mut core, |core| match core.state().topic(name).map(|topic| topic.id) {
        Some(id) => Ok(core.stage(&[Record::Change(&Change::TopicDeleted(id))], now).map(|_| ())?),
        None => Ok(()),
    });
    match deleted {
        Ok(()) => {
            let reply = answer.draft(response::SUCCESS);
            when_settled(core, now, answer, reply);
        }
        Err(refusal) => answer.refuse(refusal),
    }
}

/// 21
pub(super) fn all(served: &Arc<Served>, answer: Answer) {
    let table = served.topic_table();
    let reply = body(&answer, &table).with("totalTopicNum", table.topic_config_table.len());
    answer.reply(reply);
}

/// 351
pub(super) fn one(served: &Arc<Served>, request: &Command, answer: Answer) {
    let found = request.fields.text("topic").map_err(Refusal::from).and_then(|name| {
        let topic = topic_of(&served.vb.core(), name).map_err(|refusal| Refusal {
            remark: format!("No topic in this broker. topic: {name}"),
            ..refusal
        })?;
        Ok(body(&answer, &told(&topic)))
    });
    answer.give(found);
}

/// 305
pub(super) fn system(served: &Arc<Served>, answer: Answer) {
    let core = served.vb.core();
    let names = core.state().topics().map(|topic| &topic.name).filter(|name| served.is_system(name));
    let list = TopicList { topic_list: names.map(|name| name.to_string()).collect(), ..TopicList::default() };
    drop(core);
    let reply = body(&answer, &list);
    answer.reply(reply);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_added_and_removed_by_their_signs() {
        let read = |text| attributes(text).unwrap_or_default();
        let first = merged(BTreeMap::new(), &read("+message.type=FIFO,+reserve.time=1000"), true).unwrap();
        assert_eq!(first.len(), 2);
        let second = merged(first, &read("-reserve.time,+message.type=NORMAL"), false).unwrap();
        assert_eq!(second, BTreeMap::from([("message.type".into(), "NORMAL".into())]));
        for wrong in ["message.type=FIFO", "+message.type=X", "+colour=red", "-reserve.time"] {
            assert!(merged(second.clone(), &read(wrong), false).is_err(), "{wrong}");
        }
        assert!(merged(second, &read("-message.type"), true).is_err());
    }
}
