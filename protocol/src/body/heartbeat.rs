//! What clients say of themselves: heartbeats (34), subscriptions, and the check of one (46).

use std::fmt::Display;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// Java's `String.hashCode`: how a broker knows tags.
pub fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Heartbeat {
    #[serde(rename = "clientID", alias = "clientId", deserialize_with = "or_nothing")]
    pub client_id: String,
    #[serde(deserialize_with = "or_nothing")]
    pub producer_data_set: Vec<ProducerData>,
    #[serde(deserialize_with = "or_nothing")]
    pub consumer_data_set: Vec<ConsumerData>,
    /// Not 0: the client tells by this number whether its subscriptions changed since the last heartbeat.
    #[serde(deserialize_with = "or_nothing")]
    pub heartbeat_fingerprint: i32,
    /// The subscriptions were left out, being the same as the last time.
    #[serde(deserialize_with = "or_nothing")]
    pub without_sub: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerData {
    #[serde(deserialize_with = "or_nothing")]
    pub group_name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerData {
    #[serde(deserialize_with = "or_nothing")]
    pub group_name: String,
    #[serde(deserialize_with = "consume_type")]
    pub consume_type: String,
    #[serde(deserialize_with = "message_model")]
    pub message_model: String,
    #[serde(deserialize_with = "consume_from_where")]
    pub consume_from_where: String,
    #[serde(deserialize_with = "or_nothing")]
    pub subscription_data_set: Vec<Subscription>,
    #[serde(deserialize_with = "or_nothing")]
    pub unit_mode: bool,
}

impl Default for ConsumerData {
    fn default() -> ConsumerData {
        ConsumerData {
            group_name: String::new(),
            consume_type: "CONSUME_PASSIVELY".into(),
            message_model: "CLUSTERING".into(),
            consume_from_where: "CONSUME_FROM_LAST_OFFSET".into(),
            subscription_data_set: Vec::new(),
            unit_mode: false,
        }
    }
}

/// Which messages of a topic a group wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subscription {
    #[serde(deserialize_with = "or_nothing")]
    pub class_filter_mode: bool,
    #[serde(deserialize_with = "or_nothing")]
    pub topic: String,
    #[serde(deserialize_with = "or_nothing")]
    pub sub_string: String,
    #[serde(deserialize_with = "or_nothing")]
    pub tags_set: Vec<String>,
    #[serde(deserialize_with = "codes")]
    pub code_set: Vec<i32>,
    #[serde(deserialize_with = "version")]
    pub sub_version: i64,
    #[serde(deserialize_with = "or_nothing")]
    pub expression_type: String,
}

impl Default for Subscription {
    fn default() -> Subscription {
        Subscription {
            class_filter_mode: false,
            topic: String::new(),
            sub_string: "*".into(),
            tags_set: Vec::new(),
            code_set: Vec::new(),
            sub_version: 0,
            expression_type: "TAG".into(),
        }
    }
}

/// Some clients write numbers in quotes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number<T> {
    Plain(T),
    Quoted(String),
}

impl<T: FromStr<Err: Display>> Number<T> {
    fn read<E: Error>(self) -> Result<T, E> {
        match self {
            Number::Plain(number) => Ok(number),
            Number::Quoted(text) => text.parse().map_err(E::custom),
        }
    }
}

/// Go's client quotes them.
fn codes<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<i32>, D::Error> {
    let codes = Option::<Vec<Number<i32>>>::deserialize(input)?.unwrap_or_default();
    codes.into_iter().map(Number::read).collect()
}

/// C++'s client quotes it.
fn version<'de, D: Deserializer<'de>>(input: D) -> Result<i64, D::Error> {
    Option::<Number<i64>>::deserialize(input)?.map_or(Ok(0), Number::read)
}

fn consume_type<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    choice(input, &["CONSUME_ACTIVELY", "CONSUME_PASSIVELY", "CONSUME_POP"])
}

fn message_model<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    choice(input, &["BROADCASTING", "CLUSTERING"])
}

fn consume_from_where<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    let all = [
        "CONSUME_FROM_LAST_OFFSET",
        "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
        "CONSUME_FROM_MIN_OFFSET",
        "CONSUME_FROM_MAX_OFFSET",
        "CONSUME_FROM_FIRST_OFFSET",
        "CONSUME_FROM_TIMESTAMP",
    ];
    choice(input, &all)
}

/// One of `all`: Java and Go tell its name, C++ its place.
fn choice<'de, D: Deserializer<'de>>(input: D, all: &[&str]) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Choice {
        Name(String),
        Place(usize),
    }
    match Option::<Choice>::deserialize(input)? {
        None => Ok(String::new()),
        Some(Choice::Name(name)) => Ok(name),
        Some(Choice::Place(place)) => match all.get(place) {
            Some(name) => Ok((*name).to_owned()),
            None => Err(D::Error::custom(format!("{place} is none of {all:?}"))),
        },
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' names no tag: it is written 'a || b', or '*' for all")]
pub struct NoTags(String);

impl Subscription {
    /// A subscription by tags: `*`, or tags parted by `||`.
    pub fn by_tags(topic: &str, expression: &str) -> Result<Subscription, NoTags> {
        let mut subscription = Subscription { topic: topic.into(), ..Subscription::default() };
        if expression.trim().is_empty() || expression.trim() == "*" {
            return Ok(subscription);
        }
        subscription.sub_string = expression.into();
        let tags = expression.split("||").map(str::trim).filter(|tag| !tag.is_empty());
        for tag in tags {
            subscription.tags_set.push(tag.into());
            subscription.code_set.push(java_hash(tag));
        }
        if subscription.tags_set.is_empty() { Err(NoTags(expression.into())) } else { Ok(subscription) }
    }

    pub fn is_by_tags(&self) -> bool {
        self.expression_type.is_empty() || self.expression_type == "TAG"
    }

    /// Everything is wanted.
    pub fn is_all(&self) -> bool {
        self.code_set.is_empty() && (self.sub_string.is_empty() || self.sub_string == "*")
    }
}

/// The body of 46.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CheckClient {
    #[serde(deserialize_with = "or_nothing")]
    pub client_id: String,
    #[serde(deserialize_with = "or_nothing")]
    pub group: String,
    pub subscription_data: Option<Subscription>,
}

/// The answer to 38.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerList {
    #[serde(deserialize_with = "or_nothing")]
    pub consumer_id_list: Vec<String>,
}

/// Java and Go write what is missing as null now and then.
pub(super) fn or_nothing<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::json;

    #[test]
    fn codes_come_as_numbers_or_as_go_writes_them() {
        for codes in ["[112785,2112]", r#"["112785","2112"]"#] {
            let text = format!(r#"{{"topic":"t","subString":"red || Aa","codeSet":{codes}}}"#);
            let subscription: Subscription = serde_json::from_str(&text).unwrap();
            assert_eq!(subscription.code_set, [112785, 2112]);
        }
    }

    #[test]
    fn tags_hash_as_in_java() {
        for (text, hash) in
            [("", 0), ("TagA", 2598919), ("order-created", -392_709_271), ("é", 233), ("😀", 1_772_899)]
        {
            assert_eq!(java_hash(text), hash, "{text}");
        }
    }

    #[test]
    fn a_java_heartbeat_is_read() {
        let text = br#"{"clientID":"10.0.0.1@7","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET",
            "consumeType":"CONSUME_PASSIVELY","groupName":"g","messageModel":"CLUSTERING","subscriptionDataSet":[
            {"classFilterMode":false,"codeSet":[2598919],"expressionType":"TAG","subString":"TagA",
            "subVersion":1700000000000,"tagsSet":["TagA"],"topic":"t"}],"unitMode":false}],
            "producerDataSet":[{"groupName":"CLIENT_INNER_PRODUCER"}],"heartbeatFingerprint":0,"withoutSub":false}"#;
        let read: Heartbeat = json::read(text).unwrap();
        assert_eq!(read.client_id, "10.0.0.1@7");
        let mut subscription = Subscription::by_tags("t", "TagA").unwrap();
        subscription.sub_version = 1_700_000_000_000;
        assert_eq!(read.consumer_data_set[0].subscription_data_set, [subscription]);
        assert_eq!(read.producer_data_set[0].group_name, "CLIENT_INNER_PRODUCER");
    }

    #[test]
    fn a_heartbeat_of_the_cpp_client_is_read() {
        let text = br#"{"clientID":"10.0.0.1@7","consumerDataSet":[{"consumeFromWhere":4,"consumeType":1,"groupName":"g",
            "messageModel":0,"subscriptionDataSet":[{"codeSet":[65],"subString":"A","subVersion":"1700000000000",
            "tagsSet":["A"],"topic":"t"},{"subString":"*","subVersion":"7","topic":"%RETRY%g"}]}]}"#;
        let read: Heartbeat = json::read(text).unwrap();
        let group = &read.consumer_data_set[0];
        let told = [&group.consume_type, &group.message_model, &group.consume_from_where];
        assert_eq!(told, ["CONSUME_PASSIVELY", "BROADCASTING", "CONSUME_FROM_FIRST_OFFSET"]);
        let [tagged, all] = &group.subscription_data_set[..] else { panic!("{group:?}") };
        assert_eq!(
            (tagged.sub_version, &tagged.code_set[..], all.is_all()),
            (1_700_000_000_000, &[65][..], true)
        );
        assert!(json::read::<ConsumerData>(br#"{"messageModel":2}"#).is_err());
    }

    #[test]
    fn nulls_and_missing_parts_are_nothing() {
        let read: Heartbeat = json::read(
            br#"{"clientID":"c","consumerDataSet":[{"groupName":"g","subscriptionDataSet":null}]}"#,
        )
        .unwrap();
        assert_eq!(read.consumer_data_set[0].subscription_data_set, []);
        assert_eq!(read.producer_data_set, []);
    }

    #[test]
    fn tags_are_parted_by_bars() {
        let tags = |text: &str| Subscription::by_tags("t", text).map(|s| s.tags_set);
        assert_eq!(tags("a||b ||  c"), Ok(vec!["a".into(), "b".into(), "c".into()]));
        assert_eq!(tags(" * "), Ok(vec![]));
        assert!(tags("||").is_err());
        assert!(Subscription::by_tags("t", "").unwrap().is_all());
    }
}
