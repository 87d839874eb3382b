//! What a virtual broker's log is made of, and what needs it: an answer that only our brokers give.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogLinks {
    /// First to last.
    pub links: Vec<LogLink>,
    /// One in so many blocks of the index was looked at: sizes are estimates if it is not 1.
    pub one_in: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogLink {
    pub from: u64,
    /// Where the next link begins; none for the last.
    pub to: Option<u64>,
    pub ledger: i64,
    pub epoch: u64,
    /// That its ledger takes: less than it is long, if that is a copy of what was needed.
    pub bytes: u64,
    /// The largest part first.
    pub held_by: Vec<Held>,
}

/// Bytes that somebody needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub bytes: u64,
    #[serde(flatten)]
    pub by: Holder,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Holder {
    /// Messages of a topic, until they are older than it keeps them.
    Topic { topic: String, retention_ms: u64 },
    /// Delayed messages that are not due.
    Delays,
    /// Half messages without a decision.
    Transactions,
    /// What no checkpoint has yet.
    Recovery,
    /// So many more, who need less than those that are named.
    Others { holders: u64 },
    /// Of a later release.
    #[serde(other)]
    Unknown,
}

impl LogLink {
    /// Whether its ledger is a copy of what was needed.
    pub fn is_sparse(&self) -> bool {
        self.to.is_some_and(|to| self.bytes < to.saturating_sub(self.from))
    }

    /// How much of it is needed. Never more than there is, though parts may be estimates.
    pub fn live(&self) -> u64 {
        self.held_by.iter().map(|held| held.bytes).sum::<u64>().min(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::json;

    #[test]
    fn holders_are_told_by_name_and_those_of_later_releases_are_read() {
        let held = |bytes, by| Held { bytes, by };
        let topic = Holder::Topic { topic: "orders".into(), retention_ms: 3_600_000 };
        let link = LogLink {
            bytes: 100,
            held_by: vec![held(60, topic), held(9, Holder::Delays)],
            ..LogLink::default()
        };
        let text = json::write(&link);
        let told = std::str::from_utf8(&text).unwrap();
        assert!(
            told.contains(r#"{"bytes":60,"what":"topic","topic":"orders","retentionMs":3600000}"#),
            "{told}"
        );
        assert_eq!(json::read::<LogLink>(&text), Ok(link.clone()));
        assert_eq!(link.live(), 69);
        let later = json::read::<Held>(br#"{"bytes":1,"what":"archive","tier":3}"#);
        assert_eq!(later, Ok(held(1, Holder::Unknown)));
    }
}
