//! Subscription groups: made and changed (200, 225), deleted (207), told (201, 352).

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::body::group::{GroupConfig, GroupConfigs, GroupTable};
use protocol::body::json;
use protocol::body::topic::DataVersion;
use protocol::remoting::Command;
use protocol::remoting::code::response;
use serde_json::Value;

use super::{body, when_settled};
use crate::serve::Served;
use crate::serve::answer::{Answer, Refusal, refuse};
use crate::state::{Change, Group, topic};
use crate::vb::Record;

/// The most groups of one request.
const MOST: usize = 10_000;

/// 200
pub(super) fn update(served: &Arc<Served>, request: &Command, answer: Answer) {
    match json::read(&request.body) {
        Ok(config) => change(served, &[config], answer),
        Err(malformed) => answer.refuse(malformed.into()),
    }
}

/// 225
pub(super) fn update_many(served: &Arc<Served>, request: &Command, answer: Answer) {
    match json::read::<GroupConfigs>(&request.body) {
        Ok(list) if list.group_config_list.len() > MOST => {
            let remark = format!("at most {MOST} groups are taken in one request");
            answer.refuse(Refusal { code: response::SYSTEM_ERROR, remark });
        }
        Ok(list) => change(served, &list.group_config_list, answer),
        Err(malformed) => answer.refuse(malformed.into()),
    }
}

fn change(served: &Arc<Served>, configs: &[GroupConfig], answer: Answer) {
    let groups = match configs.iter().map(wanted).collect::<Result<Vec<Group>, Refusal>>() {
        Ok(groups) => groups,
        Err(refusal) => return answer.refuse(refusal),
    };
    let now = served.vb.now();
    let mut core = served.vb.core();
    for group in groups {
        if core.state().group(&group.name).is_some_and(|old| **old == group) {
            continue;
        }
        if let Err(refused) = core.stage(&[Record::Change(&Change::Group(group))], now) {
            return answer.refuse(refused.into());
        }
    }
    let reply = answer.draft(response::SUCCESS);
    when_settled(core, now, answer, reply);
}

fn wanted(config: &GroupConfig) -> Result<Group, Refusal> {
    if let Some(why) = topic::wrong_group(&config.group_name) {
        return refuse(response::INVALID_PARAMETER, why);
    }
    let odd = |what: &str, value: i32| {
        let remark = format!("{what} of group {} cannot be {value}", config.group_name);
        Refusal { code: response::INVALID_PARAMETER, remark }
    };
    let text = |value: &Value| (!value.is_null()).then(|| value.to_string().into_boxed_str());
    let retry_queues = u16::try_from(config.retry_queue_nums)
        .ok()
        .filter(|count| *count <= topic::MAX_QUEUES)
        .ok_or_else(|| odd("retryQueueNums", config.retry_queue_nums))?;
    let minutes = u32::try_from(config.consume_timeout_minute);
    Ok(Group {
        consume: config.consume_enable,
        from_min: config.consume_from_min_enable,
        broadcast: config.consume_broadcast_enable,
        orderly: config.consume_message_orderly,
        retry_queues,
        retry_max: config.retry_max_times,
        retry_policy: text(&config.group_retry_policy),
        subscriptions: text(&config.subscription_data_set),
        broker_id: config.broker_id,
        slow_broker_id: config.which_broker_when_consume_slowly,
        notify: config.notify_consumer_ids_changed_enable,
        sys_flag: config.group_sys_flag as u32,
        consume_timeout_minutes: minutes
            .map_err(|_| odd("consumeTimeoutMinute", config.consume_timeout_minute))?,
        attributes: unsigned(&config.attributes),
        ..Group::new(&config.group_name)
    })
}

/// Tools send the attributes that a group shall have with the sign of adding.
fn unsigned(attributes: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let kept = attributes.iter().filter(|(key, _)| !key.starts_with('-'));
    kept.map(|(key, value)| (key.trim_start_matches('+').to_owned(), value.clone())).collect()
}

fn told(group: &Group) -> GroupConfig {
    let value = |text: &Option<Box<str>>| text.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let none = GroupConfig::default();
    GroupConfig {
        attributes: group.attributes.clone(),
        broker_id: group.broker_id,
        consume_broadcast_enable: group.broadcast,
        consume_enable: group.consume,
        consume_from_min_enable: group.from_min,
        consume_message_orderly: group.orderly,
        consume_timeout_minute: group.consume_timeout_minutes as i32,
        group_name: group.name.to_string(),
        group_retry_policy: value(&group.retry_policy).unwrap_or(none.group_retry_policy),
        group_sys_flag: group.sys_flag as i32,
        notify_consumer_ids_changed_enable: group.notify,
        retry_max_times: group.retry_max,
        retry_queue_nums: i32::from(group.retry_queues),
        subscription_data_set: value(&group.subscriptions).unwrap_or(Value::Null),
        which_broker_when_consume_slowly: group.slow_broker_id,
    }
}

/// 207
pub(super) fn delete(served: &Arc<Served>, request: &Command, answer: Answer) {
    let name = match request.fields.text("groupName") {
        Ok(name) => name,
        Err(bad) => return answer.refuse(bad.into()),
    };
    let offsets = request.fields.is_true("cleanOffset");
    if offsets {
        served.commits.lock().forget(name);
    }
    let now = served.vb.now();
    let mut core = served.vb.core();
    let state = core.state();
    let known = state.group(name).is_some()
        || state.remembered(name).is_some()
        || state.offsets().groups().any(|group| &**group == name);
    if known {
        let change = Change::GroupDeleted { group: name.into(), offsets };
        if let Err(refused) = core.stage(&[Record::Change(&change)], now) {
            return answer.refuse(refused.into());
        }
        // Whoever is still there is written down again with his next request.
        served.locks.lock().forget(name);
    }
    let reply = answer.draft(response::SUCCESS);
    when_settled(core, now, answer, reply);
}

/// 201
pub(super) fn all(served: &Arc<Served>, answer: Answer) {
    let core = served.vb.core();
    let version = core.state().groups_version();
    let table = GroupTable {
        data_version: DataVersion {
            state_version: served.vb.epoch() as i64,
            counter: version.counter as i64,
            timestamp: version.changed_at,
        },
        forbidden_table: BTreeMap::new(),
        subscription_group_table: core
            .state()
            .groups()
            .map(|group| (group.name.to_string(), told(group)))
            .collect(),
    };
    drop(core);
    let reply = body(&answer, &table).with("totalGroupNum", table.subscription_group_table.len());
    answer.reply(reply);
}

/// 352: as anything else that names a group, it makes it where that is allowed.
pub(super) fn one(served: &Arc<Served>, request: &Command, answer: Answer) {
    let now = served.vb.now();
    let mut core = served.vb.core();
    let found = request.fields.text("group").map_err(Refusal::from);
    match found.and_then(|name| served.group(&mut core, name, now)) {
        Ok(group) => {
            let reply = body(&answer, &told(&group));
            when_settled(core, now, answer, reply);
        }
        Err(refusal) => answer.refuse(refusal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_told_as_it_was_sent() {
        let sent = GroupConfig {
            group_name: "g".into(),
            consume_broadcast_enable: false,
            retry_max_times: 3,
            retry_queue_nums: 2,
            ..GroupConfig::default()
        };
        assert_eq!(told(&wanted(&sent).unwrap()), sent);
        assert_eq!(told(&Group::new("h")), GroupConfig { group_name: "h".into(), ..GroupConfig::default() });
        for wrong in [
            GroupConfig { group_name: " ".into(), ..sent.clone() },
            GroupConfig { retry_queue_nums: -1, ..sent.clone() },
            GroupConfig { consume_timeout_minute: -1, ..sent },
        ] {
            assert!(wanted(&wrong).is_err());
        }
    }
}
