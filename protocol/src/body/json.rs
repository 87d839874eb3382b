//! JSON in fastjson's dialect: keys without quotes, numbers as keys, and objects as keys.
//!
//! What is read is first made standard; an object that is a key becomes a string that holds its text. What is written
//! is standard and compact: Go's client takes routes apart by commas and colons.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Malformed;

pub fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, Malformed> {
    match serde_json::from_slice(text) {
        Ok(value) => Ok(value),
        Err(first) => {
            let standard = standard(text).ok_or_else(|| Malformed(first.to_string()))?;
            serde_json::from_slice(&standard).map_err(|error| Malformed(error.to_string()))
        }
    }
}

/// Compact, with quoted keys.
pub fn write<T: Serialize>(value: &T) -> Bytes {
    // Bodies are structs and maps whose keys are strings or numbers: there is nothing that JSON cannot express.
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// As [`write`], but keys that are the text of an object are written as that object, the way that RocketMQ's tools
/// read maps by queue.
pub fn write_keyed<T: Serialize>(value: &T) -> Bytes {
    let text = write(value);
    let mut scan = Scan::new(&text);
    while let Some(byte) = scan.peek() {
        let rest = scan.rest();
        match (byte, scan.at_key()) {
            (b'"', true) if rest.starts_with(b"\"{") => {
                let key = scan.string();
                let object = serde_json::from_slice::<String>(key);
                scan.out.extend_from_slice(object.as_ref().map_or(key, |object| object.as_bytes()));
            }
            _ => scan.copy(),
        }
    }
    scan.out.into()
}

/// `None` for what cannot be JSON of either kind.
fn standard(text: &[u8]) -> Option<Vec<u8>> {
    let mut scan = Scan::new(text);
    while let Some(byte) = scan.peek() {
        match (byte, scan.at_key()) {
            (b'{', true) => {
                let object = scan.object()?;
                serde_json::to_writer(&mut scan.out, std::str::from_utf8(object).ok()?).ok()?;
            }
            (b'\'', _) => {
                let quoted = scan.string();
                let inner = quoted.get(1..quoted.len().saturating_sub(1))?;
                serde_json::to_writer(&mut scan.out, std::str::from_utf8(inner).ok()?).ok()?;
            }
            (byte, true) if byte.is_ascii_alphanumeric() || b"-_$".contains(&byte) => {
                let word = scan.word();
                serde_json::to_writer(&mut scan.out, std::str::from_utf8(word).ok()?).ok()?;
            }
            _ => scan.copy(),
        }
    }
    Some(scan.out)
}

/// Walks over JSON, knowing where keys are.
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    out: Vec<u8>,
    /// Open braces and brackets: whether a key comes next; nothing for an array.
    open: Vec<Option<bool>>,
}

impl<'a> Scan<'a> {
    fn new(text: &'a [u8]) -> Scan<'a> {
        Scan { text, at: 0, out: Vec::with_capacity(text.len()), open: Vec::new() }
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn at_key(&self) -> bool {
        self.open.last().copied().flatten() == Some(true)
    }

    /// Copies the next byte, or the whole string that it begins.
    fn copy(&mut self) {
        let Some(byte) = self.peek() else { return };
        if byte == b'"' {
            let string = self.string();
            return self.out.extend_from_slice(string);
        }
        match byte {
            b'{' => self.open.push(Some(true)),
            b'[' => self.open.push(None),
            b'}' | b']' => drop(self.open.pop()),
            b':' | b',' => {
                if let Some(Some(key)) = self.open.last_mut() {
                    *key = byte == b',';
                }
            }
            _ => {}
        }
        self.out.push(byte);
        self.at += 1;
    }

    /// The string that begins here, with its quotes, of whichever kind they are.
    fn string(&mut self) -> &'a [u8] {
        let rest = self.rest();
        let quote = rest.first().copied();
        let mut escaped = false;
        let end = rest.iter().skip(1).position(|byte| {
            let ends = !escaped && Some(*byte) == quote;
            escaped = !escaped && *byte == b'\\';
            ends
        });
        self.take(end.map_or(rest.len(), |end| end + 2))
    }

    fn word(&mut self) -> &'a [u8] {
        let ends = |byte: &u8| *byte == b':' || byte.is_ascii_whitespace();
        self.take(self.rest().iter().position(ends).unwrap_or(self.rest().len()))
    }

    /// The object that begins here, up to its closing brace.
    fn object(&mut self) -> Option<&'a [u8]> {
        let begin = self.at;
        let mut depth = 0usize;
        loop {
            match self.peek()? {
                b'"' | b'\'' => drop(self.string()),
                byte => {
                    depth = match byte {
                        b'{' => depth + 1,
                        b'}' => depth.checked_sub(1)?,
                        _ => depth,
                    };
                    self.at += 1;
                }
            }
            if depth == 0 {
                return self.text.get(begin..self.at);
            }
        }
    }

    fn take(&mut self, bytes: usize) -> &'a [u8] {
        let taken = self.rest().get(..bytes).unwrap_or_default();
        self.at += bytes;
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_without_quotes_are_read() {
        let read: BTreeMap<i64, String> = read(br#"{0:"a:1", 1 :"b"}"#).unwrap();
        assert_eq!(read, BTreeMap::from([(0, "a:1".into()), (1, "b".into())]));
        let read: BTreeMap<String, Vec<u8>> = super::read(b"{name_1:[1,2],'b':[]}").unwrap();
        assert_eq!(read, BTreeMap::from([("name_1".into(), vec![1, 2]), ("b".into(), vec![])]));
    }

    #[test]
    fn objects_as_keys_are_read_and_written_as_rocketmq_prints_them() {
        let text = br#"{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:5,{"brokerName":"b","queueId":1,"topic":"{"}:6}}"#;
        let read: BTreeMap<String, BTreeMap<String, u8>> = read(text).unwrap();
        let keys: Vec<_> = read.values().flat_map(BTreeMap::keys).collect();
        assert_eq!(keys[0], r#"{"brokerName":"b","queueId":0,"topic":"T"}"#);
        assert_eq!(write_keyed(&read), &text[..]);
    }

    #[test]
    fn values_that_look_like_keys_are_left_alone() {
        let told = BTreeMap::from([("k", r#"{0:"x"}, 'y'"#)]);
        let read: BTreeMap<String, String> = read(&write_keyed(&told)).unwrap();
        assert_eq!(read.get("k").map(String::as_str), told.get("k").copied());
    }

    proptest! {
        #[test]
        fn fuzz_any_text_is_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read::<serde_json::Value>(&text);
        }

        #[test]
        fn fuzz_text_like_json_is_read_or_refused(text in r#"[{}\[\]"':,a1\\ ]{0,80}"#) {
            let _ = read::<serde_json::Value>(text.as_bytes());
        }

        #[test]
        fn what_is_standard_stays_as_it_is(map in proptest::collection::btree_map(".*", ".*", 0..8)) {
            let text = write(&map);
            prop_assert_eq!(standard(&text), Some(text.to_vec()));
        }
    }
}
