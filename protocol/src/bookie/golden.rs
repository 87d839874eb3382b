//! Reads the golden vectors of `tests/golden/wire`, for the tests of all three wires.

use bytes::{Bytes, BytesMut};

use super::{Outgoing, frame};
use crate::entry::{Digest, DigestType, Header, MasterKey};
use crate::{EntryId, LedgerId};

/// The bytes of the vector `name` in `file` (lines of `name: hex`).
pub(crate) fn vector(file: &str, name: &str) -> Bytes {
    let hex = file
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .unwrap_or_else(|| panic!("no golden vector named {name}"));
    let digits: Vec<u8> =
        hex.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The body of the one frame that `bytes` is.
pub(super) fn body(bytes: Bytes) -> Bytes {
    let mut received = BytesMut::from(bytes);
    let frame = frame::split(&mut received, usize::MAX).unwrap().unwrap();
    assert!(received.is_empty());
    frame
}

/// What an encoder wrote, in one piece.
pub(super) fn written(encode: impl FnOnce(&mut Outgoing)) -> Bytes {
    use bytes::Buf;
    let mut out = Outgoing::default();
    encode(&mut out);
    out.copy_to_bytes(out.remaining())
}

pub(super) const LEDGER: LedgerId = LedgerId(7);

pub(super) fn key() -> MasterKey {
    MasterKey::of(b"")
}

/// Entry 0 of ledger 7, "hello".
pub(super) fn entry() -> Bytes {
    let header = Header { ledger: LEDGER, entry: EntryId(0), lac: EntryId::NONE, length: 5 };
    Digest::new(DigestType::Crc32c, b"").encode(&header, b"hello")
}
