//! Settings that can be changed while it runs, under RocketMQ's names: 318, 319.

use protocol::remoting::Command;
use protocol::remoting::code::response;

use super::{Answer, Change};
use crate::kept::Kept;
use crate::{Error, NameServer};

/// Routes carry the configuration of ordered topics.
pub(super) const ORDERS_MESSAGES: &str = "orderMessageEnable";
/// A registration lists all topics of its broker; others are gone. Ours always do; for Apache's brokers it is a setting.
pub(super) const DELETES_TOPICS: &str = "deleteTopicWithBrokerRegistration";

/// Names and defaults.
const KNOWN: [(&str, bool); 2] = [(ORDERS_MESSAGES, true), (DELETES_TOPICS, false)];

impl Kept {
    pub(super) fn is_on(&self, name: &str) -> bool {
        let default = KNOWN.iter().any(|(known, on)| *known == name && *on);
        self.setting(name).map_or(default, |value| value == "true")
    }
}

pub(super) fn update(request: &Command) -> Result<Answer, Error> {
    let text = std::str::from_utf8(&request.body)
        .map_err(|_| Error::Setting("the settings are not UTF-8".into()))?;
    let mut changes = Vec::new();
    let mut without_effect = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '!'])) {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        let (name, value) = (name.trim(), value.trim());
        // As a broker does: RocketMQ takes any key, and scripts set many that mean nothing here.
        if !KNOWN.iter().any(|(known, _)| *known == name) {
            without_effect.push(name);
            continue;
        }
        if value != "true" && value != "false" {
            return Err(Error::Setting(format!("{name} = '{value}': must be true or false")));
        }
        changes.push((name.to_string(), value.to_string()));
    }
    let mut reply = request.reply(response::SUCCESS);
    if !without_effect.is_empty() {
        reply = reply.remark(format!("without effect here: {}", without_effect.join(", ")));
    }
    Ok(if changes.is_empty() { Answer::Now(reply) } else { Answer::Once(Change::Set(changes), reply) })
}

pub(super) fn apply(kept: &mut Kept, change: Change) {
    match change {
        Change::Put { namespace, key, value } => kept.put(&namespace, &key, &value),
        Change::Delete { namespace, key } => kept.delete(&namespace, &key),
        Change::Set(settings) => settings.iter().for_each(|(name, value)| kept.set(name, value)),
    }
}

impl NameServer {
    pub(super) fn show_settings(&self, request: &Command) -> Result<Answer, Error> {
        let kept = self.kept();
        let mut text = format!("listenPort={}\n", self.settings.port);
        for (name, _) in KNOWN {
            text.push_str(&format!("{name}={}\n", kept.is_on(name)));
        }
        Ok(Answer::Now(request.reply(response::SUCCESS).body(text)))
    }
}
