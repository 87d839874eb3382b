//! The JSON header, read without building a tree: it is on the path of every message.
//!
//! Tolerated, because clients send it: numbers, booleans and null as values of ext fields (C++), unknown names at the
//! top, a language as a number, text that is not UTF-8 (it is replaced).

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};

use super::command::MAX_FIELDS;
use super::{Command, Encoding, Fields, Language};
use crate::Garbage;

/// How far is looked byte by byte.
const NEAR: usize = 16;
const BROKEN: Garbage = Garbage("a header that is not JSON");
/// How deep values may be nested that nobody reads.
const DEPTH: u32 = 32;

pub(super) fn decode(header: &[u8]) -> Result<Command, Garbage> {
    let text = match std::str::from_utf8(header) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(header),
    };
    let mut reader = Reader { text: &text, at: 0 };
    let mut command = Command { encoding: Encoding::Json, version: 0, ..Command::request(0) };
    command.language = Language::OTHER;
    let mut coded = false;
    let mut unescaped = String::new();
    reader.object(|reader, key| {
        let name = match key {
            Quoted(plain, false) => plain,
            Quoted(inside, true) => {
                unescaped.clear();
                unescape(inside, &mut unescaped)?;
                &unescaped
            }
        };
        match name {
            "code" => {
                command.code = reader.integer()?;
                coded = true;
            }
            "version" => command.version = reader.integer()?,
            "opaque" => command.opaque = reader.integer()?,
            "flag" => command.flag = reader.integer()?,
            "language" => command.language = reader.language()?,
            "remark" => {
                let mut remark = String::new();
                command.remark = reader.value(&mut remark)?.then_some(remark);
            }
            "extFields" => command.fields = reader.fields(header.len())?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    if coded { Ok(command) } else { Err(Garbage("a header without a code")) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

/// What is between two quotes; whether it has escapes.
#[derive(Clone, Copy)]
struct Quoted<'a>(&'a str, bool);

impl<'a> Reader<'a> {
    fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        bytes.get(self.at).copied().unwrap_or(0)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte;
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), Garbage> {
        if self.eat(byte) { Ok(()) } else { Err(BROKEN) }
    }

    /// Reads an object; `each` reads the value of a name.
    fn object(
        &mut self,
        mut each: impl FnMut(&mut Reader<'a>, Quoted<'a>) -> Result<(), Garbage>,
    ) -> Result<(), Garbage> {
        self.expect(b'{')?;
        if self.eat(b'}') {
            return Ok(());
        }
        loop {
            let name = self.quoted()?;
            self.expect(b':')?;
            each(self, name)?;
            if self.eat(b'}') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    fn fields(&mut self, size: usize) -> Result<Fields, Garbage> {
        if self.peek() == b'n' {
            self.skip()?;
            return Ok(Fields::default());
        }
        let mut fields = Fields::with_capacity(size, 16);
        self.object(|reader, name| {
            if fields.len() == MAX_FIELDS {
                return Err(Garbage("a header of more than 1,024 fields"));
            }
            let mut rest = Reader { text: reader.text, at: reader.at };
            let name = |text: &mut String| match name {
                Quoted(plain, false) => {
                    text.push_str(plain);
                    Ok(())
                }
                Quoted(inside, true) => unescape(inside, text),
            };
            fields.put_with(name, |text| rest.value(text))?;
            reader.at = rest.at;
            Ok(())
        })?;
        Ok(fields)
    }

    fn quoted(&mut self) -> Result<Quoted<'a>, Garbage> {
        self.expect(b'"')?;
        let start = self.at;
        let mut escaped = false;
        while self.pass_plain()? == b'\\' {
            escaped = true;
            self.at += 1;
        }
        let inside = self.text.get(start..self.at - 1).ok_or(BROKEN)?;
        Ok(Quoted(inside, escaped))
    }

    /// Goes behind the next quote or backslash, and says which of them it is.
    fn pass_plain(&mut self) -> Result<u8, Garbage> {
        let rest = self.text.as_bytes().get(self.at..).ok_or(BROKEN)?;
        let special = |byte: &u8| matches!(byte, b'"' | b'\\');
        // Most texts are so short that a search of many bytes at once does not pay.
        let near = rest.iter().take(NEAR).position(special);
        let at = near.or_else(|| {
            let far = rest.get(NEAR..)?;
            memchr::memchr2(b'"', b'\\', far).map(|at| NEAR + at)
        });
        let at = at.ok_or(BROKEN)?;
        self.at += at + 1;
        rest.get(at).copied().ok_or(BROKEN)
    }

    /// Appends what is between two quotes.
    fn string(&mut self, into: &mut String) -> Result<(), Garbage> {
        self.expect(b'"')?;
        loop {
            let start = self.at;
            let ended_by = self.pass_plain()?;
            into.push_str(self.text.get(start..self.at - 1).ok_or(BROKEN)?);
            if ended_by == b'"' {
                return Ok(());
            }
            let rest = self.text.get(self.at..).ok_or(BROKEN)?;
            self.at += escape(rest, into)?;
        }
    }

    /// Appends a value as text: a string without its quotes, anything else as it stands. False: null, nothing.
    fn value(&mut self, into: &mut String) -> Result<bool, Garbage> {
        if self.peek() == b'"' {
            self.string(into)?;
            return Ok(true);
        }
        let start = self.at;
        self.skip()?;
        let raw = self.text.get(start..self.at).ok_or(BROKEN)?;
        if raw == "null" {
            return Ok(false);
        }
        into.push_str(raw);
        Ok(true)
    }

    fn integer(&mut self) -> Result<i32, Garbage> {
        let raw = match self.peek() {
            b'"' => self.quoted()?.0,
            _ => self.bare(),
        };
        raw.parse().map_err(|_| Garbage("a header whose code, version, opaque or flag is no number"))
    }

    fn language(&mut self) -> Result<Language, Garbage> {
        match self.peek() {
            b'"' => Ok(Language::from_name(self.quoted()?.0)),
            _ => Ok(self.bare().parse().map_or(Language::OTHER, Language::from_code)),
        }
    }

    /// A number, true, false or null.
    fn bare(&mut self) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let of_it = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
        let length = rest.bytes().position(|byte| !of_it(byte)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// Passes over a value.
    fn skip(&mut self) -> Result<(), Garbage> {
        let mut depth = 0;
        loop {
            match self.peek() {
                b'"' => {
                    self.quoted()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' | b',' | b':' if depth > 0 => {
                    depth -= u32::from(matches!(self.peek(), b'}' | b']'));
                    self.at += 1;
                }
                _ if self.bare().is_empty() => return Err(BROKEN),
                _ => {}
            }
            if depth == 0 {
                return Ok(());
            }
            if depth > DEPTH {
                return Err(Garbage("a header that is nested too deep"));
            }
        }
    }
}

/// Appends a text that has escapes.
fn unescape(mut inside: &str, into: &mut String) -> Result<(), Garbage> {
    while let Some((before, after)) = inside.split_once('\\') {
        into.push_str(before);
        let length = escape(after, into)?;
        inside = after.get(length..).ok_or(BROKEN)?;
    }
    into.push_str(inside);
    Ok(())
}

/// Appends the character of the escape that `text` begins with, behind its backslash; how many bytes that has.
fn escape(text: &str, into: &mut String) -> Result<usize, Garbage> {
    let plain = match text.chars().next().ok_or(BROKEN)? {
        'u' => {
            let (character, length) = numbered(text)?;
            into.push(character);
            return Ok(length);
        }
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'b' => '\u{8}',
        'f' => '\u{c}',
        // fastjson escapes NUL so.
        '0' => '\0',
        other => {
            into.push(other);
            return Ok(other.len_utf8());
        }
    };
    into.push(plain);
    Ok(1)
}

/// The character of `u` and four digits, or of two such escapes, and how many bytes that took. Halves of characters
/// are replaced.
fn numbered(text: &str) -> Result<(char, usize), Garbage> {
    let first = unit(text).ok_or(BROKEN)?;
    if (0xd800..0xdc00).contains(&first) {
        let second = text.get(5..).and_then(|rest| rest.strip_prefix('\\')).and_then(unit);
        if let Some(second @ 0xdc00..0xe000) = second {
            let whole = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return Ok((char::from_u32(whole).unwrap_or('\u{fffd}'), 11));
        }
    }
    Ok((char::from_u32(first).unwrap_or('\u{fffd}'), 5))
}

/// The number of `u` and four digits.
fn unit(text: &str) -> Option<u32> {
    let digits = text.as_bytes().strip_prefix(b"u")?.get(..4)?;
    digits.iter().try_fold(0, |number, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))
}

/// What a header has beside its fields and remark, at most.
const FRAME: usize = 160;

/// Writes the header as fastjson does: names in order, compact. In memory of its own first: adding many small pieces to a
/// shared buffer costs more than copying them once.
pub(super) fn encode(command: &Command, out: &mut BytesMut) {
    let remark = command.remark.as_ref().map_or(0, String::len);
    let mut header = Vec::with_capacity(FRAME + remark + command.fields.quoted_len());
    write(command, &mut header);
    out.put_slice(&header);
}

fn write(command: &Command, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(b"{\"code\":");
    out.extend_from_slice(digits.format(command.code).as_bytes());
    if !command.fields.is_empty() {
        out.extend_from_slice(b",\"extFields\":{");
        for (index, (name, value)) in command.fields.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            string(name, out);
            out.push(b':');
            string(value, out);
        }
        out.push(b'}');
    }
    out.extend_from_slice(b",\"flag\":");
    out.extend_from_slice(digits.format(command.flag).as_bytes());
    out.extend_from_slice(b",\"language\":\"");
    out.extend_from_slice(command.language.name().as_bytes());
    out.extend_from_slice(b"\",\"opaque\":");
    out.extend_from_slice(digits.format(command.opaque).as_bytes());
    if let Some(remark) = &command.remark {
        out.extend_from_slice(b",\"remark\":");
        string(remark, out);
    }
    out.extend_from_slice(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
    out.extend_from_slice(digits.format(command.version).as_bytes());
    out.push(b'}');
}

fn string(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    // Without an end before the last byte, so that many bytes are looked at together.
    let odd = bytes.iter().fold(false, |odd, &byte| odd | (byte < 0x20) | (byte == b'"') | (byte == b'\\'));
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    if !odd {
        out.extend_from_slice(bytes);
        return out.push(b'"');
    }
    let mut plain = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(bytes.get(plain..at).unwrap_or_default());
        plain = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            _ => {
                let digit = |value: u8| char::from_digit(value.into(), 16).map_or(b'0', |digit| digit as u8);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(bytes.get(plain..).unwrap_or_default());
    out.push(b'"');
}
