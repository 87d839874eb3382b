//! Numbers and texts as changes write them: varints (least significant group first) and length-prefixed bytes.

use bytes::Bytes;

/// What was read is not what this release, or an older one, wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a change of state cannot be read: {0}")]
pub struct Corrupt(pub String);

pub(super) struct Writer(pub Vec<u8>);

impl Writer {
    pub fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// Small numbers of either sign stay short.
    pub fn signed(&mut self, value: i64) {
        self.number(((value << 1) ^ (value >> 63)) as u64);
    }

    pub fn flag(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }

    pub fn bytes(&mut self, value: &[u8]) {
        self.number(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    pub fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    pub fn optional(&mut self, value: Option<&str>) {
        self.flag(value.is_some());
        if let Some(value) = value {
            self.text(value);
        }
    }
}

pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn byte(&mut self) -> Result<u8, Corrupt> {
        let (first, rest) = self.0.split_first().ok_or_else(|| short("a byte"))?;
        self.0 = rest;
        Ok(*first)
    }

    pub fn number(&mut self) -> Result<u64, Corrupt> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7F);
            if shift == 63 && part > 1 {
                return Err(Corrupt("a number does not fit 64 bits".into()));
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Corrupt("a number does not end".into()))
    }

    pub fn signed(&mut self) -> Result<i64, Corrupt> {
        let value = self.number()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A number that its field's type holds.
    pub fn fits<T: TryFrom<u64>>(&mut self, what: &str) -> Result<T, Corrupt> {
        let value = self.number()?;
        T::try_from(value).map_err(|_| Corrupt(format!("{what} is {value}")))
    }

    pub fn flag(&mut self) -> Result<bool, Corrupt> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Corrupt(format!("a flag is {other}"))),
        }
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], Corrupt> {
        let len: usize = self.fits("a length")?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or_else(|| short("the bytes announced"))?;
        self.0 = rest;
        Ok(bytes)
    }

    pub fn text(&mut self) -> Result<&'a str, Corrupt> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Corrupt("a text is not UTF-8".into()))
    }

    pub fn optional(&mut self) -> Result<Option<&'a str>, Corrupt> {
        Ok(if self.flag()? { Some(self.text()?) } else { None })
    }

    pub fn end(&self) -> Result<(), Corrupt> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Corrupt(format!("{} bytes follow its end", self.0.len())))
        }
    }
}

fn short(what: &str) -> Corrupt {
    Corrupt(format!("it ends where {what} should be"))
}

/// Joins encoded changes, each behind its length; the bytes of a block.
pub(super) fn join<'a>(changes: impl IntoIterator<Item = &'a [u8]>) -> Bytes {
    let mut out = Writer(Vec::new());
    for change in changes {
        out.bytes(change);
    }
    out.0.into()
}
