//! The text form of protobuf messages, as far as BookKeeper uses it: `name: value` and `name { … }`.

/// A field in the order of the text.
#[derive(Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// A number or an enum's name.
    Word(&'a str),
    /// A quoted string, unescaped.
    Bytes(Vec<u8>),
    Message(Vec<(&'a str, Field<'a>)>),
}

/// Deeper nesting than BookKeeper's messages have is not worth following.
const DEPTH: u32 = 4;

pub fn parse(text: &str) -> Result<Vec<(&str, Field<'_>)>, String> {
    let mut rest = text;
    fields(&mut rest, DEPTH, false)
}

fn fields<'a>(rest: &mut &'a str, depth: u32, inner: bool) -> Result<Vec<(&'a str, Field<'a>)>, String> {
    let mut found = Vec::new();
    loop {
        *rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ';' || c == ',');
        if rest.is_empty() && !inner {
            return Ok(found);
        }
        if inner && let Some(after) = rest.strip_prefix('}') {
            *rest = after;
            return Ok(found);
        }
        let name = word(rest);
        if name.is_empty() {
            return Err(format!(
                "a field name was expected before '{}'",
                rest.chars().take(20).collect::<String>()
            ));
        }
        *rest = rest.trim_start();
        let colon = rest.strip_prefix(':');
        *rest = colon.unwrap_or(rest).trim_start();
        let value = if let Some(after) = rest.strip_prefix('{') {
            *rest = after;
            let depth = depth.checked_sub(1).ok_or("it is nested too deeply")?;
            Field::Message(fields(rest, depth, true)?)
        } else if colon.is_none() {
            return Err(format!("field {name} has no value"));
        } else if rest.starts_with('"') {
            Field::Bytes(quoted(rest)?)
        } else {
            match word(rest) {
                "" => return Err(format!("field {name} has no value")),
                word => Field::Word(word),
            }
        };
        found.push((name, value));
    }
}

fn word<'a>(rest: &mut &'a str) -> &'a str {
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_-+.".contains(c))).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after;
    word
}

/// Reads a quoted string. Escapes: `\n \r \t \" \' \\`, three octal digits, `\x` and two hexadecimal digits.
fn quoted(rest: &mut &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut input = rest.as_bytes().iter().copied().enumerate().skip(1).peekable();
    while let Some((at, byte)) = input.next() {
        match byte {
            b'"' => {
                *rest = rest.get(at + 1..).unwrap_or_default();
                return Ok(bytes);
            }
            b'\\' => match input.next() {
                Some((_, b'n')) => bytes.push(b'\n'),
                Some((_, b'r')) => bytes.push(b'\r'),
                Some((_, b't')) => bytes.push(b'\t'),
                Some((_, c @ (b'"' | b'\'' | b'\\'))) => bytes.push(c),
                Some((_, b'x')) => bytes.push(digits(&mut input, 0, 2, 16)?),
                Some((_, c @ b'0'..=b'7')) => bytes.push(digits(&mut input, u32::from(c - b'0'), 2, 8)?),
                _ => return Err("a string has an unknown escape".into()),
            },
            other => bytes.push(other),
        }
    }
    Err("a string has no end".into())
}

fn digits(
    input: &mut std::iter::Peekable<impl Iterator<Item = (usize, u8)>>,
    start: u32,
    most: usize,
    base: u32,
) -> Result<u8, String> {
    let mut value = start;
    for _ in 0..most {
        match input.peek().and_then(|&(_, byte)| char::from(byte).to_digit(base)) {
            Some(digit) => value = value * base + digit,
            None => break,
        }
        input.next();
    }
    u8::try_from(value).map_err(|_| "an escaped byte is above 255".into())
}

/// Quotes as protobuf's text printer does: octal for what is not printable ASCII.
pub fn quote(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for &byte in bytes {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'"' => out.push_str("\\\""),
            b'\'' => out.push_str("\\'"),
            b'\\' => out.push_str("\\\\"),
            b' '..=b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("\\{other:03o}")),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_nest() {
        let parsed = parse("a: 1\nsegment {\n  m: \"h:1\"\n  f: -0\n}\nb: CRC32C\n");
        let segment = vec![("m", Field::Bytes(b"h:1".to_vec())), ("f", Field::Word("-0"))];
        let all =
            vec![("a", Field::Word("1")), ("segment", Field::Message(segment)), ("b", Field::Word("CRC32C"))];
        assert_eq!(parsed, Ok(all));
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_read_back(bytes: Vec<u8>) {
            let text = quote(&bytes);
            prop_assert_eq!(quoted(&mut text.as_str()), Ok(bytes));
        }

        #[test]
        fn fuzz_any_text_is_refused_or_read(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn fuzz_nearly_right_text_is_refused_or_read(text in "[a:{}\"\\\\0-9 \n]*") {
            let _ = parse(&text);
        }
    }
}
