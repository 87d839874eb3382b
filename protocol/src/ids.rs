//! The names that all layers share.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A ledger. Never negative once it is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LedgerId(pub i64);

/// An entry's place in its ledger: dense from 0; [`EntryId::NONE`] (−1) stands for "none" and, in a read, "the last".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub i64);

impl EntryId {
    pub const NONE: EntryId = EntryId(-1);
    pub const FIRST: EntryId = EntryId(0);

    pub fn next(self) -> EntryId {
        EntryId(self.0 + 1)
    }

    pub fn is_none(self) -> bool {
        self.0 < 0
    }
}

impl fmt::Display for LedgerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A bookie's name: a `host:port` fixed at its first start. Where it listens now is a matter of its registration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BookieId(Arc<str>);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{0}' is not a bookie id: it is written host:port, as in 'bookie-1:3181'")]
pub struct NotABookieId(pub String);

impl BookieId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BookieId {
    type Err = NotABookieId;

    fn from_str(text: &str) -> Result<Self, NotABookieId> {
        let wrong = || NotABookieId(text.chars().take(80).collect());
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let host_fits = !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
        match port.parse::<u16>() {
            Ok(port) if host_fits && port != 0 => Ok(BookieId(text.into())),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for BookieId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bookie_id_is_host_and_port() {
        assert_eq!("b-1:3181".parse::<BookieId>().map(|b| b.to_string()), Ok("b-1:3181".into()));
        assert!("[::1]:3181".parse::<BookieId>().is_ok());
        for wrong in ["", "b", "b:", ":1", "b:0", "b:70000", "a/b:1", "a b:1"] {
            assert!(wrong.parse::<BookieId>().is_err(), "{wrong}");
        }
    }
}
