//! A message's properties as they travel: `name 0x01 value 0x02 …`.

use protocol::body::heartbeat::java_hash;
pub use protocol::message::properties::{
    CHECK_IMMUNITY, CLUSTER, DELAY, KEYS, ORIGIN_MESSAGE_ID, PRODUCER_GROUP, REAL_QUEUE, REAL_TOPIC, REGION,
    RETRY_TOPIC, TAGS, TRACE_ON, TRANSACTION_PREPARED, UNIQ_KEY, get, iter,
};

pub const POP_CHECKPOINT: &str = "POP_CK";
pub const CHECK_TIMES: &str = "TRANSACTION_CHECK_TIMES";
pub const TRANSACTION_ID: &str = "__transactionId__";
/// Properties that ask for delivery at a time of one's own.
pub const TIMERS: [&str; 3] = ["TIMER_DELIVER_MS", "TIMER_DELAY_SEC", "TIMER_DELAY_MS"];

/// The most bytes that a message's properties take.
pub const MOST: usize = 32_767;

const NAME_END: char = '\u{1}';
const VALUE_END: char = '\u{2}';

/// What a broker looks at in the properties of a message that is sent, found in one pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen<'a> {
    pub tags: Option<&'a str>,
    pub keys: Option<&'a str>,
    pub unique_key: Option<&'a str>,
    pub delay: Option<u16>,
    pub half: bool,
    pub immunity: Option<&'a str>,
    /// Asks for delivery at a time of its own.
    pub timer: bool,
    /// Has something that the broker writes itself.
    pub ours: bool,
}

impl<'a> Seen<'a> {
    pub fn of(text: &'a str) -> Seen<'a> {
        let mut seen = Seen::default();
        for (name, value) in iter(text) {
            match name {
                TAGS => seen.tags = Some(value),
                KEYS => seen.keys = Some(value),
                UNIQ_KEY => seen.unique_key = Some(value).filter(|key| !key.is_empty()),
                DELAY => {
                    seen.delay = value.trim().parse::<i32>().ok().map(|level| level.clamp(0, 1_000) as u16)
                }
                TRANSACTION_PREPARED => seen.half = value.eq_ignore_ascii_case("true"),
                CHECK_IMMUNITY => seen.immunity = Some(value),
                REGION | TRACE_ON | CLUSTER | POP_CHECKPOINT | REAL_TOPIC | REAL_QUEUE => seen.ours = true,
                _ => seen.timer |= TIMERS.contains(&name),
            }
        }
        seen
    }

    /// The delay level, if there is one.
    pub fn level(&self) -> Option<u16> {
        self.delay.filter(|level| *level > 0)
    }

    /// What the index of the queue knows the message by.
    pub fn tag(&self) -> i64 {
        tag_hash(self.tags)
    }

    /// Hashes under which the message can be found.
    pub fn key_hashes(&self, topic: &str) -> Vec<u64> {
        let keys = self.keys.unwrap_or_default().split_ascii_whitespace();
        self.unique_key.into_iter().chain(keys).take(MOST_KEYS).map(|key| key_hash(topic, key)).collect()
    }
}

/// More keys of one message are not looked up.
const MOST_KEYS: usize = 64;

pub fn tag_hash(tags: Option<&str>) -> i64 {
    tags.filter(|tags| !tags.is_empty()).map_or(0, |tags| i64::from(java_hash(tags)))
}

/// A part of the format of entries: FNV-1a of `topic#key`.
pub fn key_hash(topic: &str, key: &str) -> u64 {
    let bytes = topic.bytes().chain([b'#']).chain(key.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// The text without the named properties, and with `more` at its end.
pub fn rewrite(text: &str, without: &[&str], more: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let kept =
        iter(text).filter(|(name, _)| !without.contains(name) && !more.iter().any(|(new, _)| new == name));
    for (name, value) in kept.chain(more.iter().copied()) {
        out.push_str(name);
        out.push(NAME_END);
        out.push_str(value);
        out.push(VALUE_END);
    }
    out
}

/// The key by which a message can be told apart, if its producer gave it none: as long as RocketMQ's.
pub fn unique_key(vb: u32, epoch: u64, number: u64, born: i64) -> String {
    format!("{:08X}{:08X}{:016X}", vb ^ (epoch as u32).rotate_left(16), born as u32, number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "KEYS\u{1}k1 k2\u{2}UNIQ_KEY\u{1}U\u{2}WAIT\u{1}true\u{2}TAGS\u{1}TagA";

    #[test]
    fn what_the_broker_needs_is_seen_in_one_pass() {
        let seen = Seen::of(TEXT);
        assert_eq!((seen.tags, seen.keys, seen.unique_key), (Some("TagA"), Some("k1 k2"), Some("U")));
        assert_eq!((seen.tag(), seen.level(), seen.half, seen.ours), (2_598_919, None, false, false));
        assert_eq!(seen.key_hashes("t"), ["U", "k1", "k2"].map(|key| key_hash("t", key)));
        let delayed = Seen::of("DELAY\u{1}3\u{2}TRAN_MSG\u{1}true\u{2}CLUSTER\u{1}c\u{2}");
        assert_eq!((delayed.level(), delayed.half, delayed.ours), (Some(3), true, true));
        assert_eq!(Seen::of("DELAY\u{1}-7").level(), None);
        assert_eq!(Seen::of("DELAY\u{1}99999").level(), Some(1_000));
        assert!(Seen::of("TIMER_DELAY_MS\u{1}5").timer);
    }

    #[test]
    fn properties_are_taken_out_and_replaced() {
        let text = rewrite(TEXT, &["KEYS"], &[("TAGS", "B"), ("X", "y")]);
        assert_eq!(text, "UNIQ_KEY\u{1}U\u{2}WAIT\u{1}true\u{2}TAGS\u{1}B\u{2}X\u{1}y\u{2}");
    }

    #[test]
    fn a_key_of_ours_looks_like_a_clients() {
        let key = unique_key(1, 2, 3, 1_700_000_000_000);
        assert_eq!(key.len(), 32);
        assert_ne!(key, unique_key(1, 2, 4, 1_700_000_000_000));
        assert_ne!(key, unique_key(1, 3, 3, 1_700_000_000_000));
    }

    #[test]
    fn the_hash_of_a_key_is_what_it_was() {
        assert_eq!(key_hash("", ""), (0xcbf2_9ce4_8422_2325u64 ^ 35).wrapping_mul(0x100_0000_01b3));
        assert_ne!(key_hash("a", "b#c"), key_hash("a", "b"));
    }
}
