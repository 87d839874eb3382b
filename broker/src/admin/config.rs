//! Settings: changed (25) and shown (26), as Java's properties.

use std::sync::Arc;

use protocol::body::json;
use protocol::body::topic::DataVersion;
use protocol::remoting::Command;
use protocol::remoting::code::response;

use super::when_settled;
use crate::serve::Served;
use crate::serve::answer::{Answer, Refusal, refuse};
use crate::state::Change;
use crate::vb::Record;

/// 25: all of them, or none.
pub(super) fn update(served: &Arc<Served>, request: &Command, answer: Answer) {
    let text = match std::str::from_utf8(&request.body) {
        Ok(text) => text,
        Err(_) => {
            let remark = "the properties are not text in UTF-8".into();
            return answer.refuse(Refusal { code: response::SYSTEM_ERROR, remark });
        }
    };
    let now = served.vb.now();
    let mut core = served.vb.core();
    let mut tried = core.state().settings().clone();
    let known: Vec<&str> = tried.list().into_iter().map(|(key, _)| key).collect();
    let mut changes = Vec::new();
    let mut without_effect = Vec::new();
    for (key, value) in properties(text) {
        // RocketMQ takes any key, and scripts set many that mean nothing here.
        if !known.contains(&&*key) {
            without_effect.push(key);
            continue;
        }
        if let Err(wrong) = tried.set(&key, &value) {
            return answer.refuse(Refusal { code: response::SYSTEM_ERROR, remark: wrong.to_string() });
        }
        changes.push(Change::Setting { key, value: Some(value) });
    }
    let records: Vec<Record<'_>> = changes.iter().map(Record::Change).collect();
    if records.is_empty() && without_effect.is_empty() {
        return answer.give(refuse(response::SYSTEM_ERROR, "string2Properties error"));
    }
    if !records.is_empty() {
        let staged = served.topic_made(&mut core, |core| Ok(core.stage(&records, now).map(|_| ())?));
        if let Err(refusal) = staged {
            return answer.refuse(refusal);
        }
    }
    tracing::info!(vb = %served.vb.name, by = %answer.peer(), ?changes, ?without_effect, "settings are changed");
    let mut reply = answer.draft(response::SUCCESS);
    if !without_effect.is_empty() {
        reply = reply.remark(format!("without effect here: {}", without_effect.join(", ")));
    }
    when_settled(core, now, answer, reply);
}

/// 26
pub(super) fn show(served: &Arc<Served>, answer: Answer) {
    let core = served.vb.core();
    let address = served.vb.address;
    let mut shown: Vec<(&str, String)> = core.state().settings().list();
    drop(core);
    shown.extend([
        ("brokerName", served.vb.name.to_string()),
        ("brokerClusterName", served.cluster.to_string()),
        ("brokerId", "0".into()),
        ("brokerIP1", address.ip().to_string()),
        ("listenPort", address.port().to_string()),
    ]);
    shown.sort();
    let text: String = shown.iter().map(|(key, value)| format!("{key}={}\n", escaped(value))).collect();
    let version =
        DataVersion { state_version: served.vb.epoch() as i64, counter: 0, timestamp: served.vb.now().wall };
    let version = String::from_utf8_lossy(&json::write(&version)).into_owned();
    let reply = answer.draft(response::SUCCESS).with("version", version).body(text);
    answer.reply(reply);
}

/// Lines of Java's properties: comments and blank lines are left out, backslashes taken away.
fn properties(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().map(str::trim_start);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(['#', '!']));
    lines
        .map(|line| {
            let end = line.find(['=', ':']).unwrap_or(line.len());
            let (key, value) = line.split_at(end);
            (unescaped(key.trim()), unescaped(value.get(1..).unwrap_or_default().trim()))
        })
        .filter(|(key, _)| !key.is_empty())
        .collect()
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.extend(match c {
            '\\' => chars.next(),
            c => Some(c),
        });
    }
    out
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_as_java_writes_them() {
        let read = properties(
            "#Sat Nov 21\n\nmessageDelayLevel=1s 5s\r\nautoCreateTopicEnable : false\nx=a\\=b\\:c\n",
        );
        let wanted = [("messageDelayLevel", "1s 5s"), ("autoCreateTopicEnable", "false"), ("x", "a=b:c")];
        assert_eq!(read, wanted.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
}
