//! Messages by their place (33), and by their keys (12).

use std::sync::Arc;

use bytes::Bytes;
use protocol::message::stored::Message;
use protocol::remoting::Command;
use protocol::remoting::code::response;

use super::Served;
use super::answer::{Answer, Refusal};
use super::properties::{self, KEYS, UNIQ_KEY, key_hash};
use super::pull::unreadable;
use crate::error::Error;

/// The most messages that a search by key finds.
const MOST: usize = 64;

/// 33: whatever address it is asked at, and whatever address the id names.
pub(super) fn by_position(served: &Arc<Served>, request: &Command, answer: Answer) {
    let position = match request.fields.number::<i64>("offset") {
        Ok(position) => u64::try_from(position).unwrap_or(u64::MAX),
        Err(bad) => return answer.refuse(bad.into()),
    };
    let served = served.clone();
    tokio::spawn(async move {
        match served.vb.message_at(position).await {
            Ok(Some(message)) => {
                let reply = answer.draft(response::SUCCESS);
                answer.reply_with(reply, &[message]);
            }
            Ok(None) => answer.refuse(Refusal {
                code: response::SYSTEM_ERROR,
                remark: format!("can not find message by the offset, {position}"),
            }),
            Err(error) => answer.refuse(unreadable(&error)),
        }
    });
}

struct Search {
    topic: String,
    key: String,
    unique: bool,
    from: i64,
    to: i64,
    most: usize,
}

/// 12
pub(super) fn by_key(served: &Arc<Served>, request: &Command, answer: Answer) {
    let fields = &request.fields;
    let read = || -> Result<Search, Refusal> {
        let most: i32 = fields.number("maxNum")?;
        Ok(Search {
            topic: fields.text("topic")?.into(),
            key: fields.text("key")?.into(),
            unique: fields.is_true("_UNIQUE_KEY_QUERY"),
            from: fields.number("beginTimestamp")?,
            to: fields.number("endTimestamp")?,
            most: usize::try_from(most).unwrap_or(0).clamp(1, MOST),
        })
    };
    let search = match read() {
        Ok(search) => search,
        Err(refusal) => return answer.refuse(refusal),
    };
    let served = served.clone();
    tokio::spawn(async move {
        match find(&served, &search).await {
            Ok(found) if found.is_empty() => answer.refuse(Refusal {
                code: response::QUERY_NOT_FOUND,
                remark: "can not find message, maybe time range not correct".into(),
            }),
            Ok(found) => {
                let (time, position) = {
                    let core = served.vb.core();
                    (core.last_time(), core.acknowledged())
                };
                let reply = answer
                    .draft(response::SUCCESS)
                    .with("indexLastUpdateTimestamp", time)
                    .with("indexLastUpdatePhyoffset", position);
                answer.reply_with(reply, &found);
            }
            Err(error) => answer.refuse(unreadable(&error)),
        }
    });
}

async fn find(served: &Served, search: &Search) -> Result<Vec<Bytes>, Error> {
    let hash = key_hash(&search.topic, &search.key);
    // Of messages with the same hash some may have another key.
    let positions = served.vb.by_key(hash, search.from, search.to, search.most * 2).await?;
    let mut found = Vec::new();
    for position in positions {
        let Some(bytes) = served.vb.message_at(position).await? else { continue };
        let matches = Message::take(&mut bytes.clone()).is_ok_and(|message| has_key(&message, search));
        if matches {
            found.push(bytes);
        }
        if found.len() >= search.most {
            break;
        }
    }
    Ok(found)
}

fn has_key(message: &Message, search: &Search) -> bool {
    let text = String::from_utf8_lossy(&message.properties);
    let unique = properties::get(&text, UNIQ_KEY) == Some(&search.key);
    let keys = properties::get(&text, KEYS).unwrap_or_default();
    let keyed = !search.unique && keys.split_ascii_whitespace().any(|key| key == search.key);
    message.topic == search.topic && (unique || keyed)
}
