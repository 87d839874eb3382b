//! An entry as it travels and as bookies store it, and the digests that guard it.
//!
//! `ledger i64 | entry i64 | LAC i64 | length i64 | digest | payload`, big endian. The digest covers the 32 bytes
//! before it and the payload after it. `length` is the sum of payload bytes of the ledger up to this entry.

use bytes::{BufMut, Bytes, BytesMut};
use hmac::{Hmac, Mac};
use sha1::{Digest as _, Sha1};

use crate::{EntryId, LedgerId};

pub const HEADER_LEN: usize = 32;
/// The largest frame BookKeeper takes, its length field included.
pub const MAX_FRAME: usize = 5 * 1024 * 1024;
/// The largest payload that fits an ADD request with a CRC32C digest.
pub const MAX_PAYLOAD: usize = 5_242_816;

/// The four fields before the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub ledger: LedgerId,
    pub entry: EntryId,
    /// The writer's last confirmed entry when it sent this one: how bookies and readers learn of it.
    pub lac: EntryId,
    pub length: i64,
}

impl Header {
    /// Reads the header of an encoded entry; `None` if there are fewer than 32 bytes.
    pub fn of(entry: &[u8]) -> Option<Header> {
        let bytes = entry.first_chunk::<HEADER_LEN>()?;
        let field = |i: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[i * 8..i * 8 + 8]);
            i64::from_be_bytes(word)
        };
        Some(Header {
            ledger: LedgerId(field(0)),
            entry: EntryId(field(1)),
            lac: EntryId(field(2)),
            length: field(3),
        })
    }

    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        for (i, word) in [self.ledger.0, self.entry.0, self.lac.0, self.length].into_iter().enumerate() {
            bytes[i * 8..i * 8 + 8].copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

/// What a client proves its right to a ledger with: SHA1("ledger" ‖ password).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MasterKey(pub [u8; 20]);

impl MasterKey {
    pub fn of(password: &[u8]) -> MasterKey {
        MasterKey(sha1_of(b"ledger", password))
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

fn sha1_of(prefix: &[u8], password: &[u8]) -> [u8; 20] {
    let mut hash = Sha1::new();
    hash.update(prefix);
    hash.update(password);
    hash.finalize().into()
}

/// The digest types of ledger metadata, with BookKeeper's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DigestType {
    Crc32 = 1,
    Hmac = 2,
    Crc32c = 3,
    Dummy = 4,
}

/// A digest type with its key: all that is needed to make and to check entries of one ledger.
#[derive(Clone)]
pub struct Digest {
    kind: DigestType,
    mac_key: [u8; 20],
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Damage {
    #[error("an entry of {0} bytes is shorter than its header and digest")]
    Short(usize),
    #[error("asked for entry {wanted:?}, got {got:?}")]
    Misplaced { wanted: (LedgerId, EntryId), got: (LedgerId, EntryId) },
    #[error("the digest of entry {1} of ledger {0} does not match its bytes")]
    Digest(LedgerId, EntryId),
}

impl Digest {
    pub fn new(kind: DigestType, password: &[u8]) -> Digest {
        Digest { kind, mac_key: sha1_of(b"mac", password) }
    }

    pub fn kind(&self) -> DigestType {
        self.kind
    }

    /// Bytes that the digest takes.
    pub fn size(&self) -> usize {
        match self.kind {
            DigestType::Crc32 => 8,
            DigestType::Hmac => 20,
            DigestType::Crc32c => 4,
            DigestType::Dummy => 0,
        }
    }

    /// Bytes before the payload.
    pub fn overhead(&self) -> usize {
        HEADER_LEN + self.size()
    }

    fn put(&self, parts: &[&[u8]], out: &mut impl BufMut) {
        match self.kind {
            DigestType::Crc32 => {
                let mut crc = crc32fast::Hasher::new();
                parts.iter().for_each(|part| crc.update(part));
                out.put_u64(u64::from(crc.finalize()));
            }
            DigestType::Crc32c => {
                out.put_u32(parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part)));
            }
            DigestType::Hmac => {
                let mut mac = Hmac::<Sha1>::new_from_slice(&self.mac_key)
                    .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
                parts.iter().for_each(|part| mac.update(part));
                out.put_slice(&mac.finalize().into_bytes());
            }
            DigestType::Dummy => {}
        }
    }

    /// Header and digest of an entry whose payload is sent after them: what the writer puts before a payload it
    /// does not copy. The payload is given in pieces, `first` and `rest`.
    pub fn head(&self, header: &Header, first: &[u8], rest: &[u8], out: &mut impl BufMut) {
        let encoded = header.encode();
        out.put_slice(&encoded);
        self.put(&[&encoded, first, rest], out);
    }

    /// The whole entry.
    pub fn encode(&self, header: &Header, payload: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(self.overhead() + payload.len());
        self.head(header, payload, &[], &mut out);
        out.put_slice(payload);
        out.freeze()
    }

    /// Checks an encoded entry that should be (`ledger`, `entry`); its header and payload.
    pub fn open(&self, ledger: LedgerId, entry: EntryId, bytes: &Bytes) -> Result<(Header, Bytes), Damage> {
        let (header, payload) = self.open_any(bytes)?;
        if (header.ledger, header.entry) != (ledger, entry) {
            return Err(Damage::Misplaced { wanted: (ledger, entry), got: (header.ledger, header.entry) });
        }
        Ok((header, payload))
    }

    /// Checks an encoded entry without expecting a certain one (a read of "the last").
    pub fn open_any(&self, bytes: &Bytes) -> Result<(Header, Bytes), Damage> {
        let header = Header::of(bytes).ok_or(Damage::Short(bytes.len()))?;
        let stored = bytes.get(HEADER_LEN..self.overhead()).ok_or(Damage::Short(bytes.len()))?;
        let payload = bytes.slice(self.overhead()..);
        let mut computed = Vec::with_capacity(20);
        self.put(&[&bytes[..HEADER_LEN], &payload], &mut computed);
        if computed != stored {
            return Err(Damage::Digest(header.ledger, header.entry));
        }
        Ok((header, payload))
    }

    /// The packet of an explicit LAC: `ledger i64 | lac i64 | digest`.
    pub fn encode_lac(&self, ledger: LedgerId, lac: EntryId) -> Bytes {
        let mut out = BytesMut::with_capacity(16 + self.size());
        out.put_i64(ledger.0);
        out.put_i64(lac.0);
        let fields = out.clone();
        self.put(&[&fields], &mut out);
        out.freeze()
    }

    /// Checks the packet of an explicit LAC.
    pub fn open_lac(&self, ledger: LedgerId, packet: &[u8]) -> Result<EntryId, Damage> {
        let fields = packet.first_chunk::<16>().ok_or(Damage::Short(packet.len()))?;
        let mut lac = [0; 8];
        lac.copy_from_slice(&fields[8..]);
        let lac = EntryId(i64::from_be_bytes(lac));
        if *packet != *self.encode_lac(ledger, lac) {
            return Err(Damage::Digest(ledger, lac));
        }
        Ok(lac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn the_empty_password_has_the_known_master_key() {
        assert_eq!(hex(&MasterKey::of(b"").0), "850bf1071c5e3d8c24235676f8816ae0cbe2f14f");
    }

    #[test]
    fn an_entry_matches_the_worked_vector() {
        let digest = Digest::new(DigestType::Crc32c, b"");
        let header = Header { ledger: LedgerId(7), entry: EntryId(0), lac: EntryId::NONE, length: 5 };
        let entry = digest.encode(&header, b"hello");
        assert_eq!(
            hex(&entry),
            "00000000000000070000000000000000ffffffffffffffff00000000000000059e3e717b68656c6c6f"
        );
        assert_eq!(digest.open(LedgerId(7), EntryId(0), &entry), Ok((header, Bytes::from_static(b"hello"))));
    }

    #[test]
    fn every_digest_finds_a_flipped_bit() {
        for kind in [DigestType::Crc32, DigestType::Hmac, DigestType::Crc32c] {
            let digest = Digest::new(kind, b"secret");
            let header = Header { ledger: LedgerId(1), entry: EntryId(2), lac: EntryId(1), length: 11 };
            let good = digest.encode(&header, b"some bytes!");
            for bit in 0..good.len() * 8 {
                let mut bad = good.to_vec();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(digest.open(LedgerId(1), EntryId(2), &bad.into()).is_err(), "{kind:?} bit {bit}");
            }
        }
    }

    #[test]
    fn an_explicit_lac_survives_the_round_trip() {
        let digest = Digest::new(DigestType::Hmac, b"pw");
        let packet = digest.encode_lac(LedgerId(9), EntryId(41));
        assert_eq!(digest.open_lac(LedgerId(9), &packet), Ok(EntryId(41)));
        assert!(digest.open_lac(LedgerId(8), &packet).is_err());
        assert!(digest.open_lac(LedgerId(9), &packet[..10]).is_err());
    }
}
