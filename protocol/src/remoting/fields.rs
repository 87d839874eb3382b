//! The ext fields of a command.

use std::fmt::{Display, Write};
use std::str::FromStr;

/// Names and values in the order in which they came, exactly as they came: whoever checks a signature needs that.
/// One buffer holds all their text.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    text: String,
    spans: Vec<Span>,
}

/// Where a name begins, where its value begins, and where that ends.
#[derive(Clone, Copy, Debug)]
struct Span {
    key: u32,
    value: u32,
    end: u32,
}

/// A field of a request is missing, or its value makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadField {
    #[error("the request lacks the field '{0}'")]
    Missing(&'static str),
    #[error("the field '{name}' is '{value}', which is not {wanted}")]
    Odd { name: &'static str, value: String, wanted: &'static str },
}

impl Fields {
    pub fn with_capacity(bytes: usize, fields: usize) -> Fields {
        Fields { text: String::with_capacity(bytes), spans: Vec::with_capacity(fields) }
    }

    /// Makes room for so many bytes of names and values, and so many fields, at once.
    pub fn reserve(&mut self, bytes: usize, fields: usize) {
        self.text.reserve(bytes);
        self.spans.reserve(fields);
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Bytes of all names and values with quotes, a colon and a comma each.
    pub(super) fn quoted_len(&self) -> usize {
        self.text.len() + self.spans.len() * 6
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.spans.iter().map(|span| (self.cut(span.key, span.value), self.cut(span.value, span.end)))
    }

    /// The value of `name`; of several the last, as in a map.
    pub fn get(&self, name: &str) -> Option<&str> {
        let span = self.spans.iter().rev().find(|span| self.cut(span.key, span.value) == name)?;
        Some(self.cut(span.value, span.end))
    }

    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The text of a field that must be there.
    pub fn text(&self, name: &'static str) -> Result<&str, BadField> {
        self.get(name).ok_or(BadField::Missing(name))
    }

    /// A number that must be there.
    pub fn number<T: FromStr>(&self, name: &'static str) -> Result<T, BadField> {
        parse(name, self.text(name)?)
    }

    /// A number that may be missing. Empty counts as missing.
    pub fn maybe<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, BadField> {
        maybe(name, self.get(name))
    }

    pub fn number_or<T: FromStr>(&self, name: &'static str, default: T) -> Result<T, BadField> {
        Ok(self.maybe(name)?.unwrap_or(default))
    }

    /// Whether a field says "true", in whatever case; missing and anything else is false, as Java reads it.
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    pub fn push(&mut self, name: &str, value: impl Display) {
        self.put(name, |text| {
            // Writing to a string does not fail.
            let _ = write!(text, "{value}");
        });
    }

    /// As [`Fields::push`], at a fifth of the cost.
    pub fn push_number(&mut self, name: &str, value: impl itoa::Integer) {
        self.push_text(name, itoa::Buffer::new().format(value));
    }

    /// As [`Fields::push`], without the cost of formatting.
    pub fn push_text(&mut self, name: &str, value: &str) {
        self.put(name, |text| text.push_str(value));
    }

    /// Adds the field if there is a value.
    pub fn push_some(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.push(name, value);
        }
    }

    /// Adds a field whose name and value are written by functions.
    pub(super) fn put_with<E>(
        &mut self,
        name: impl FnOnce(&mut String) -> Result<(), E>,
        value: impl FnOnce(&mut String) -> Result<bool, E>,
    ) -> Result<(), E> {
        let key = offset(&self.text);
        name(&mut self.text)?;
        let middle = offset(&self.text);
        if value(&mut self.text)? {
            self.spans.push(Span { key, value: middle, end: offset(&self.text) });
        } else {
            self.text.truncate(key as usize);
        }
        Ok(())
    }

    fn put(&mut self, name: &str, value: impl FnOnce(&mut String)) {
        let key = offset(&self.text);
        self.text.push_str(name);
        let middle = offset(&self.text);
        value(&mut self.text);
        self.spans.push(Span { key, value: middle, end: offset(&self.text) });
    }

    fn cut(&self, from: u32, to: u32) -> &str {
        self.text.get(from as usize..to as usize).unwrap_or_default()
    }
}

/// Headers are at most 16 MiB: an offset in one fits.
fn offset(text: &str) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

/// A number that may be missing. Empty counts as missing.
pub(super) fn maybe<T: FromStr>(name: &'static str, value: Option<&str>) -> Result<Option<T>, BadField> {
    match value {
        None | Some("" | "null") => Ok(None),
        Some(value) => parse(name, value).map(Some),
    }
}

pub(super) fn parse<T: FromStr>(name: &'static str, value: &str) -> Result<T, BadField> {
    let wanted = "a number that fits";
    value.parse().map_err(|_| BadField::Odd { name, value: value.chars().take(40).collect(), wanted })
}

impl PartialEq for Fields {
    fn eq(&self, other: &Fields) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Fields {}

impl<'a> FromIterator<(&'a str, &'a str)> for Fields {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(fields: I) -> Fields {
        let mut all = Fields::default();
        fields.into_iter().for_each(|(name, value)| all.push_text(name, value));
        all
    }
}
