//! The bytes around records: headers of segments, groups and records. Drawn in docs/formats.md, *Segment*.
//!
//! A segment is 512 bytes of header, then groups, each at a multiple of 512, so that a group that is torn by power
//! loss can touch no sector of the one before it.

use crate::position::{Position, SegmentId};

/// What power loss leaves whole or not at all.
pub const SECTOR: u32 = 512;
pub const SEGMENT_HEADER: usize = 512;
pub const GROUP_HEADER: usize = 64;
pub const RECORD_HEADER: usize = 20;
pub const VERSION: u16 = 1;

const SEGMENT_MAGIC: [u8; 8] = *b"strataSG";
pub(crate) const GROUP_MAGIC: [u8; 4] = *b"SGrp";
/// Set in the group that a graceful stop writes last.
pub const CLEAN: u32 = 1;

/// Rounds up to whole sectors.
pub fn padded(bytes: u32) -> u32 {
    bytes.div_ceil(SECTOR) * SECTOR
}

/// Fields of fixed width, one after the other.
pub(crate) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    pub fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    pub fn position(&mut self) -> Option<Position> {
        Some(Position { segment: SegmentId(self.u32()?), offset: self.u32()? })
    }
}

/// The start of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    pub segment: SegmentId,
    /// The bookie's and disk's.
    pub identity: [u8; 16],
    /// Chosen anew each time the file becomes a segment: what it held before never counts, nor does a segment that
    /// someone stored as an entry.
    pub salt: u64,
    pub size: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHeader {
    /// Not a segment header, or a damaged one.
    Damaged,
    Version(u16),
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER);
        bytes.extend(SEGMENT_MAGIC);
        bytes.extend(VERSION.to_be_bytes());
        bytes.extend([0; 2]);
        bytes.extend(self.segment.0.to_be_bytes());
        bytes.extend(self.identity);
        bytes.extend(self.salt.to_be_bytes());
        bytes.extend(self.size.to_be_bytes());
        bytes.extend(crc32c::crc32c(&bytes).to_be_bytes());
        let mut header = [0; SEGMENT_HEADER];
        header[..bytes.len()].copy_from_slice(&bytes);
        header
    }

    pub fn decode(bytes: &[u8]) -> Result<SegmentHeader, BadHeader> {
        let fields = &mut Fields(bytes);
        let parsed = (|| {
            let magic = fields.take::<8>()?;
            let version = fields.u16()?;
            fields.u16()?;
            let header = SegmentHeader {
                segment: SegmentId(fields.u32()?),
                identity: fields.take()?,
                salt: fields.u64()?,
                size: fields.u32()?,
            };
            Some((magic, version, header, fields.u32()?))
        })();
        match parsed {
            Some((SEGMENT_MAGIC, VERSION, header, crc)) if crc == crc32c::crc32c(&bytes[..44]) => Ok(header),
            Some((SEGMENT_MAGIC, version, ..)) if version != VERSION => Err(BadHeader::Version(version)),
            _ => Err(BadHeader::Damaged),
        }
    }
}

/// What was written and synced together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupHeader {
    /// Of header and records, without the padding.
    pub length: u32,
    /// Each group of a disk has the number after the one before it.
    pub sequence: u64,
    pub salt: u64,
    pub segment: SegmentId,
    /// The start of the process that wrote it. Groups of an earlier start behind those of a later one are leftovers.
    pub boot: u32,
    /// Up to here everything was durable, and answered, when this group was written.
    pub acked: Position,
    /// CRC of the header of the group before.
    pub previous: u32,
    pub records: u32,
    pub flags: u32,
    /// Where it belongs: a write that went elsewhere does not count.
    pub offset: u32,
}

impl GroupHeader {
    /// The header, and its CRC, which the next group names.
    pub fn encode(&self) -> ([u8; GROUP_HEADER], u32) {
        let mut bytes = Vec::with_capacity(GROUP_HEADER);
        bytes.extend(GROUP_MAGIC);
        bytes.extend(self.length.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.salt.to_be_bytes());
        bytes.extend(self.segment.0.to_be_bytes());
        bytes.extend(self.boot.to_be_bytes());
        bytes.extend(self.acked.segment.0.to_be_bytes());
        bytes.extend(self.acked.offset.to_be_bytes());
        bytes.extend(self.previous.to_be_bytes());
        bytes.extend(self.records.to_be_bytes());
        bytes.extend(self.flags.to_be_bytes());
        bytes.extend(self.offset.to_be_bytes());
        bytes.extend([0; 4]);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend(crc.to_be_bytes());
        let mut header = [0; GROUP_HEADER];
        header.copy_from_slice(&bytes);
        (header, crc)
    }

    /// `None`: there is no group here. The caller compares salt and segment with the file's.
    pub fn decode(bytes: &[u8]) -> Option<(GroupHeader, u32)> {
        let bytes = bytes.first_chunk::<GROUP_HEADER>()?;
        let fields = &mut Fields(bytes);
        if fields.take::<4>()? != GROUP_MAGIC {
            return None;
        }
        let header = GroupHeader {
            length: fields.u32()?,
            sequence: fields.u64()?,
            salt: fields.u64()?,
            segment: SegmentId(fields.u32()?),
            boot: fields.u32()?,
            acked: fields.position()?,
            previous: fields.u32()?,
            records: fields.u32()?,
            flags: fields.u32()?,
            offset: fields.u32()?,
        };
        fields.u32()?;
        let crc = fields.u32()?;
        let sound = crc == crc32c::crc32c(&bytes[..60]) && header.length as usize >= GROUP_HEADER;
        sound.then_some((header, crc))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// An entry, as it came.
    Entry = 1,
    /// All that is to be known of a ledger besides its entries ([`super::record`]).
    Ledger = 2,
    /// All that is to be known of the shelf.
    Shelf = 3,
}

/// Bytes at the start of a body that the header's CRC covers too: an entry's ledger and id. So a flipped bit in a
/// payload is the damage of one known entry, not of anything.
const NAMED: usize = 16;

/// What precedes each body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    pub length: u32,
    pub kind: Kind,
    pub segment: SegmentId,
    pub body_crc: u32,
}

impl RecordHeader {
    /// `named` is the start of the body, as much as there is of it up to 16 bytes.
    pub fn encode(&self, salt: u64, named: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend(self.length.to_be_bytes());
        out.extend([self.kind as u8, 0, 0, 0]);
        out.extend(self.segment.0.to_be_bytes());
        out.extend(self.body_crc.to_be_bytes());
        let crc = head_crc(salt, &out[start..], named);
        out.extend(crc.to_be_bytes());
    }

    /// Reads the header of the record at the start of `bytes`, which go on with its body (of which 16 bytes are
    /// needed). `None`: there is no sound record of this segment here.
    pub fn decode(salt: u64, segment: SegmentId, bytes: &[u8]) -> Option<RecordHeader> {
        let (fixed, body) = bytes.split_at_checked(RECORD_HEADER)?;
        let fields = &mut Fields(fixed);
        let length = fields.u32()?;
        let kind = match fields.take::<4>()? {
            [1, 0, 0, 0] => Kind::Entry,
            [2, 0, 0, 0] => Kind::Ledger,
            [3, 0, 0, 0] => Kind::Shelf,
            _ => return None,
        };
        let header =
            RecordHeader { length, kind, segment: SegmentId(fields.u32()?), body_crc: fields.u32()? };
        let named = body.get(..NAMED.min(length as usize))?;
        let sound = header.segment == segment && fields.u32()? == head_crc(salt, &fixed[..16], named);
        sound.then_some(header)
    }
}

fn head_crc(salt: u64, fixed: &[u8], named: &[u8]) -> u32 {
    let named = named.get(..NAMED).unwrap_or(named);
    let mut bytes = [0; 8 + 16 + NAMED];
    bytes[..8].copy_from_slice(&salt.to_be_bytes());
    bytes[8..24].copy_from_slice(fixed);
    bytes[24..24 + named.len()].copy_from_slice(named);
    crc32c::crc32c(&bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_segment_header_survives_the_round_trip_and_no_flipped_bit() {
        let header = SegmentHeader { segment: SegmentId(7), identity: [3; 16], salt: 99, size: 1 << 20 };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        for bit in 0..48 * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_header_of_a_later_version_says_so() {
        let header = SegmentHeader { segment: SegmentId(7), identity: [3; 16], salt: 99, size: 1 << 20 };
        let mut bytes = header.encode();
        bytes[9] = 2;
        assert_eq!(SegmentHeader::decode(&bytes), Err(BadHeader::Version(2)));
    }

    #[test]
    fn a_group_header_survives_the_round_trip_and_no_flipped_bit() {
        let header = GroupHeader {
            length: 700,
            sequence: 12,
            salt: 5,
            segment: SegmentId(3),
            boot: 2,
            acked: Position::new(SegmentId(2), 1024),
            previous: 77,
            records: 1,
            flags: CLEAN,
            offset: 512,
        };
        let (bytes, crc) = header.encode();
        assert_eq!(GroupHeader::decode(&bytes), Some((header, crc)));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(GroupHeader::decode(&bad), None, "bit {bit}");
        }
    }

    #[test]
    fn a_record_counts_only_in_its_segment_and_with_its_salt() {
        let body = b"ledger, entry and some payload";
        let header = RecordHeader {
            length: body.len() as u32,
            kind: Kind::Entry,
            segment: SegmentId(4),
            body_crc: crc32c::crc32c(body),
        };
        let mut bytes = Vec::new();
        header.encode(8, body, &mut bytes);
        bytes.extend(body);
        assert_eq!(RecordHeader::decode(8, SegmentId(4), &bytes), Some(header));
        assert_eq!(RecordHeader::decode(8, SegmentId(5), &bytes), None);
        assert_eq!(RecordHeader::decode(9, SegmentId(4), &bytes), None);
        for bit in 0..(RECORD_HEADER + NAMED) * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::decode(8, SegmentId(4), &bad), None, "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn fuzz_headers_of_any_bytes_do_no_harm(
            mut bytes in prop::collection::vec(any::<u8>(), GROUP_HEADER),
            length in 0..GROUP_HEADER,
        ) {
            let _ = SegmentHeader::decode(&bytes[..length]);
            let _ = GroupHeader::decode(&bytes[..length]);
            let _ = RecordHeader::decode(1, SegmentId(1), &bytes[..length]);
            // With the right magic and checksum.
            bytes[..4].copy_from_slice(&GROUP_MAGIC);
            let crc = crc32c::crc32c(&bytes[..60]);
            bytes[60..].copy_from_slice(&crc.to_be_bytes());
            prop_assert!(GroupHeader::decode(&bytes).is_none_or(|(header, of)| of == crc && header.length >= 64));
            bytes[..10].copy_from_slice(b"strataSG\0\x01");
            let crc = crc32c::crc32c(&bytes[..44]);
            bytes[44..48].copy_from_slice(&crc.to_be_bytes());
            prop_assert!(SegmentHeader::decode(&bytes).is_ok());
        }
    }
}
