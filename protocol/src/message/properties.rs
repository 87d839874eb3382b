//! Properties of a message, as text: `name \u{1} value \u{2}`, again and again; the last separator may be missing.

/// What people give.
pub const TAGS: &str = "TAGS";
pub const KEYS: &str = "KEYS";
pub const DELAY: &str = "DELAY";
pub const WAIT: &str = "WAIT";
/// Given by the client that sends, once for each message, whatever becomes of it.
pub const UNIQ_KEY: &str = "UNIQ_KEY";
pub const BORN_HOST: &str = "bornhost";
pub const PRODUCER_GROUP: &str = "PGROUP";
pub const TRANSACTION_PREPARED: &str = "TRAN_MSG";
/// Seconds for which a half message is not checked.
pub const CHECK_IMMUNITY: &str = "CHECK_IMMUNITY_TIME_IN_SECONDS";
pub const RECONSUME_TIME: &str = "RECONSUME_TIME";
pub const MAX_RECONSUME_TIMES: &str = "MAX_RECONSUME_TIMES";
pub const RETRY_TOPIC: &str = "RETRY_TOPIC";
pub const ORIGIN_MESSAGE_ID: &str = "ORIGIN_MESSAGE_ID";
pub const REAL_TOPIC: &str = "REAL_TOPIC";
pub const REAL_QUEUE: &str = "REAL_QID";
/// Given by the broker.
pub const REGION: &str = "MSG_REGION";
pub const TRACE_ON: &str = "TRACE_ON";
pub const CLUSTER: &str = "CLUSTER";
/// Given by a consumer to what it read.
pub const MIN_OFFSET: &str = "MIN_OFFSET";
pub const MAX_OFFSET: &str = "MAX_OFFSET";

const NAME_END: char = '\u{1}';
const VALUE_END: char = '\u{2}';

/// Names and values; parts without a value are passed over, as Java does.
pub fn iter(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts = text.split(VALUE_END).filter_map(|part| part.split_once(NAME_END));
    parts.filter(|(name, value)| !name.is_empty() && !value.is_empty())
}

/// The value of `name`; of several the last, as in a map.
pub fn get<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    iter(text).filter(|(found, _)| *found == name).last().map(|(_, value)| value)
}

/// Appends a property; an empty value is none. Separators within name or value would make others of it: they are left
/// out.
pub fn push(text: &mut String, name: &str, value: &str) {
    let plain = |c: &char| *c != NAME_END && *c != VALUE_END;
    if !name.chars().any(|c| plain(&c)) || !value.chars().any(|c| plain(&c)) {
        return;
    }
    if !text.is_empty() && !text.ends_with(VALUE_END) {
        text.push(VALUE_END);
    }
    text.extend(name.chars().filter(plain));
    text.push(NAME_END);
    text.extend(value.chars().filter(plain));
    text.push(VALUE_END);
}

/// The text with `name` set to `value`, or without it.
pub fn with(text: &str, name: &str, value: Option<&str>) -> String {
    let mut all = String::with_capacity(text.len() + name.len() + value.map_or(0, str::len) + 2);
    iter(text).filter(|(other, _)| *other != name).for_each(|(name, value)| push(&mut all, name, value));
    if let Some(value) = value {
        push(&mut all, name, value);
    }
    all
}

/// The keys of a message: words of KEYS.
pub fn keys(text: &str) -> impl Iterator<Item = &str> {
    get(text, KEYS).unwrap_or_default().split_ascii_whitespace()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_that_are_none_are_passed_over() {
        let all: Vec<_> = iter("\u{2}a\u{1}1\u{2}b\u{2}c\u{1}\u{2}\u{1}x\u{2}d\u{1}4").collect();
        assert_eq!(all, [("a", "1"), ("d", "4")]);
        assert_eq!(get("a\u{1}1\u{2}a\u{1}2\u{2}", "a"), Some("2"));
        assert_eq!(get("", "a"), None);
    }

    #[test]
    fn properties_are_set_and_taken_away() {
        let text = "a\u{1}1\u{2}b\u{1}2";
        assert_eq!(with(text, "a", Some("3")), "b\u{1}2\u{2}a\u{1}3\u{2}");
        assert_eq!(with(text, "a", None), "b\u{1}2\u{2}");
        let mut text = text.to_owned();
        push(&mut text, "KEYS", "x\u{1}y z\u{2}");
        assert_eq!(text, "a\u{1}1\u{2}b\u{1}2\u{2}KEYS\u{1}xy z\u{2}");
        assert_eq!(keys(&text).collect::<Vec<_>>(), ["xy", "z"]);
    }

    proptest! {
        #[test]
        fn fuzz_any_text_is_read(text in "[a-c\u{1}\u{2}]{0,40}") {
            let again = with(&text, "", None);
            prop_assert_eq!(with(&again, "", None), again);
        }
    }
}
