//! The JSON header, read without building a tree: it is on the path of every message.
//!
//! Tolerated, because clients send it: numbers, booleans and null as values of ext fields (C++), unknown names at the
//! top, a language as a number, text that is not UTF-8 (it is replaced).

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};

use super::command::MAX_FIELDS;
use super::fields::Place;
use super::{Command, Encoding, Fields, Language};
use crate::Garbage;

/// So many words of eight bytes are looked at before a search of many bytes at once pays.
const NEAR: usize = 4;
const BROKEN: Garbage = Garbage("a header that is not JSON");
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHEST: u64 = ONES << 7;
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
    let (mut coded, mut fielded) = (false, false);
    reader.object(|reader, name| {
        match reader.plain(&name)?.as_ref() {
            "code" => {
                command.code = reader.integer()?;
                coded = true;
            }
            "version" => command.version = reader.integer()?,
            "opaque" => command.opaque = reader.integer()?,
            "flag" => command.flag = reader.integer()?,
            "language" => command.language = reader.language()?,
            "remark" => {
                command.remark = match reader.value()? {
                    Some(remark) => Some(reader.plain(&remark)?.into_owned()),
                    None => None,
                };
            }
            // Each would copy the header.
            "extFields" if fielded => return Err(Garbage("a header that has extFields twice")),
            "extFields" => {
                command.fields = reader.fields()?;
                fielded = true;
            }
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

/// A part of the header: where it stands, and whether it has escapes.
struct Part {
    place: Place,
    escaped: bool,
}

impl<'a> Reader<'a> {
    fn peek(&mut self) -> u8 {
        loop {
            match self.text.as_bytes().get(self.at) {
                Some(byte) if byte.is_ascii_whitespace() => self.at += 1,
                Some(byte) => return *byte,
                None => return 0,
            }
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.text.as_bytes().get(self.at) == Some(&byte) || self.peek() == byte;
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), Garbage> {
        if self.eat(byte) { Ok(()) } else { Err(BROKEN) }
    }

    /// Reads an object; `each` reads the value of a name.
    fn object(
        &mut self,
        mut each: impl FnMut(&mut Reader<'a>, Part) -> Result<(), Garbage>,
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

    /// The fields are slices of a copy of the header, but for those with escapes.
    fn fields(&mut self) -> Result<Fields, Garbage> {
        if self.peek() == b'n' {
            self.skip()?;
            return Ok(Fields::default());
        }
        let mut fields = Fields::of_text(self.text);
        self.object(|reader, name| {
            if fields.len() == MAX_FIELDS {
                return Err(Garbage("a header of more than 1,024 fields"));
            }
            let Some(value) = reader.value()? else { return Ok(()) };
            let name = reader.placed(name, &mut fields)?;
            let value = reader.placed(value, &mut fields)?;
            fields.add(name, value);
            Ok(())
        })?;
        Ok(fields)
    }

    /// Where a part stands in the text of `fields`.
    fn placed(&self, part: Part, fields: &mut Fields) -> Result<Place, Garbage> {
        match part.escaped {
            false => Ok(part.place),
            true => fields.append(|text| unescape(self.cut(&part)?, text)),
        }
    }

    fn cut(&self, part: &Part) -> Result<&'a str, Garbage> {
        self.text.get(part.place.range()).ok_or(BROKEN)
    }

    /// A part without its escapes.
    fn plain(&self, part: &Part) -> Result<Cow<'a, str>, Garbage> {
        let inside = self.cut(part)?;
        if !part.escaped {
            return Ok(Cow::Borrowed(inside));
        }
        let mut text = String::with_capacity(inside.len());
        unescape(inside, &mut text)?;
        Ok(Cow::Owned(text))
    }

    /// What is between two quotes. Short texts without escapes, which nearly all are, are found here.
    #[inline]
    fn quoted(&mut self) -> Result<Part, Garbage> {
        self.expect(b'"')?;
        let start = self.at;
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        let length = rest.first_chunk().map_or(8, |word| first_of(specials(u64::from_le_bytes(*word))));
        if length < 8 && rest.get(length) == Some(&b'"') {
            self.at = start + length + 1;
            return Ok(Part { place: Place::new(start, start + length), escaped: false });
        }
        self.quoted_long(start)
    }

    fn quoted_long(&mut self, start: usize) -> Result<Part, Garbage> {
        let mut escaped = false;
        while self.pass_plain()? == b'\\' {
            escaped = true;
            self.at += 1;
        }
        Ok(Part { place: Place::new(start, self.at - 1), escaped })
    }

    /// Goes behind the next quote or backslash, and says which of them it is.
    fn pass_plain(&mut self) -> Result<u8, Garbage> {
        let rest = self.text.as_bytes().get(self.at..).ok_or(BROKEN)?;
        let at = first_special(rest).ok_or(BROKEN)?;
        self.at += at + 1;
        rest.get(at).copied().ok_or(BROKEN)
    }

    /// A value as text: a string without its quotes, anything else as it stands. None: null.
    fn value(&mut self) -> Result<Option<Part>, Garbage> {
        if self.peek() == b'"' {
            return self.quoted().map(Some);
        }
        let start = self.at;
        self.skip()?;
        let part = Part { place: Place::new(start, self.at), escaped: false };
        Ok(Some(part).filter(|part| self.text.get(part.place.range()) != Some("null")))
    }

    fn integer(&mut self) -> Result<i32, Garbage> {
        let raw = match self.peek() {
            b'"' => {
                let part = self.quoted()?;
                self.cut(&part)?
            }
            _ => self.bare(),
        };
        raw.parse().map_err(|_| Garbage("a header whose code, version, opaque or flag is no number"))
    }

    fn language(&mut self) -> Result<Language, Garbage> {
        match self.peek() {
            b'"' => {
                let part = self.quoted()?;
                Ok(Language::from_name(self.cut(&part)?))
            }
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

/// Where the first quote or backslash is.
fn first_special(text: &[u8]) -> Option<usize> {
    let (words, rest) = text.as_chunks::<8>();
    for (at, word) in words.iter().enumerate().take(NEAR) {
        let found = specials(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(at * 8 + first_of(found));
        }
    }
    match words.len() > NEAR {
        true => memchr::memchr2(b'"', b'\\', text.get(NEAR * 8..)?).map(|at| NEAR * 8 + at),
        false => rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).map(|at| words.len() * 8 + at),
    }
}

/// The highest bit of each byte that is a quote or a backslash. Above the first such byte others may be marked, too.
fn specials(word: u64) -> u64 {
    let zeroes = |word: u64| word.wrapping_sub(ONES) & !word & HIGHEST;
    zeroes(word ^ (ONES * u64::from(b'"'))) | zeroes(word ^ (ONES * u64::from(b'\\')))
}

/// Which byte of a word is the first that is marked; 8: none.
fn first_of(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
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

/// Whether something in it needs an escape.
fn is_odd(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    // Without an end before the last word, so that many are looked at together.
    let odd = words.iter().fold(0, |odd, word| {
        let word = u64::from_le_bytes(*word);
        odd | specials(word) | word.wrapping_sub(ONES * 0x20) & !word & HIGHEST
    });
    odd != 0 || rest.iter().any(|&byte| byte < 0x20 || matches!(byte, b'"' | b'\\'))
}

fn string(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    if !is_odd(bytes) {
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
