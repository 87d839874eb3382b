//! The ext fields of a command.

use std::fmt::{Display, Write};
use std::ops::Range;
use std::str::FromStr;

/// Names and values in the order in which they came, exactly as they came: whoever checks a signature needs that.
/// One buffer holds all their text.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    text: String,
    places: Vec<(Place, Place)>,
}

/// Where a name or a value begins and ends. Headers are at most 1 MiB.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    from: u32,
    to: u32,
}

impl Place {
    pub fn new(from: usize, to: usize) -> Place {
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Place { from: offset(from), to: offset(to) }
    }

    pub fn range(self) -> Range<usize> {
        self.from as usize..self.to as usize
    }
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
        Fields { text: String::with_capacity(bytes), places: Vec::with_capacity(fields) }
    }

    /// Makes room for so many bytes of names and values, and so many fields, at once.
    pub fn reserve(&mut self, bytes: usize, fields: usize) {
        self.text.reserve(bytes);
        self.places.reserve(fields);
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes that they take in memory.
    pub(super) fn size(&self) -> usize {
        self.text.len() + size_of_val(&self.places[..])
    }

    /// Not less than all names and values with quotes, a colon and a comma each: of a header that was read, its rest counts.
    pub(super) fn quoted_len(&self) -> usize {
        self.text.len() + self.places.len() * 6
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.places.iter().map(|(name, value)| (self.cut(*name), self.cut(*value)))
    }

    /// The value of `name`; of several the last, as in a map.
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.places.iter().rev().find(|(known, _)| self.cut(*known) == name)?;
        Some(self.cut(*value))
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

    /// Without fields; names and values will be parts of `text`, or be appended to it.
    pub(super) fn of_text(text: &str) -> Fields {
        Fields { text: text.to_owned(), places: Vec::with_capacity(16) }
    }

    /// Appends a name or a value, and says where it is.
    pub(super) fn append<E>(&mut self, write: impl FnOnce(&mut String) -> Result<(), E>) -> Result<Place, E> {
        let start = self.text.len();
        write(&mut self.text)?;
        Ok(Place::new(start, self.text.len()))
    }

    /// Adds the field whose name and value are there in the text.
    pub(super) fn add(&mut self, name: Place, value: Place) {
        self.places.push((name, value));
    }

    fn put(&mut self, name: &str, value: impl FnOnce(&mut String)) {
        let key = self.text.len();
        self.text.push_str(name);
        let middle = self.text.len();
        value(&mut self.text);
        self.add(Place::new(key, middle), Place::new(middle, self.text.len()));
    }

    fn cut(&self, place: Place) -> &str {
        self.text.get(place.range()).unwrap_or_default()
    }
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
