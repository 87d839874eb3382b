//! From group to group, and from record to record.

use std::io;

use bytes::Bytes;

use super::SegmentFile;
use super::format::{GROUP_HEADER, GROUP_MAGIC, GroupHeader, RECORD_HEADER, RecordHeader, SECTOR};

/// How much is read at once where the end is not known.
const CHUNK: usize = 1 << 20;

/// A group's header where it was found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub offset: u32,
    pub header: GroupHeader,
    /// CRC of the header, which the next group names.
    pub crc: u32,
}

fn of_file(file: &SegmentFile, offset: u32, bytes: &[u8]) -> Option<Found> {
    let (header, crc) = GroupHeader::decode(bytes)?;
    let fits = header.length <= file.size.saturating_sub(offset);
    let own = (header.salt, header.segment, header.offset) == (file.salt, file.id, offset);
    (fits && own).then_some(Found { offset, header, crc })
}

/// Up to `length` bytes from `offset`.
pub fn read(file: &SegmentFile, offset: u32, length: usize) -> io::Result<Bytes> {
    let left = file.size.saturating_sub(offset) as usize;
    Ok(file.file.read(u64::from(offset), length.min(left))?.into())
}

/// The same without waiting for the disk; `None` if that cannot be.
pub fn read_now(file: &SegmentFile, offset: u32, length: usize) -> io::Result<Option<Bytes>> {
    let left = file.size.saturating_sub(offset) as usize;
    let mut buffer = vec![0; length.min(left)];
    let Some(got) = file.file.try_read_at(u64::from(offset), &mut buffer)? else { return Ok(None) };
    buffer.truncate(got);
    Ok(Some(buffer.into()))
}

/// Writes the bytes that are there, so that the next sync covers them whatever became of an earlier one.
pub fn write_again(file: &SegmentFile, from: u32, to: u32) -> io::Result<()> {
    let mut at = from;
    while at < to {
        let bytes = read(file, at, CHUNK.min((to - at) as usize))?;
        if bytes.is_empty() {
            break;
        }
        file.file.write_at(u64::from(at), &[io::IoSlice::new(&bytes)])?;
        at = at.saturating_add(bytes.len() as u32);
    }
    Ok(())
}

/// The group that begins at `offset`, if one does.
pub fn header_at(file: &SegmentFile, offset: u32) -> io::Result<Option<Found>> {
    Ok(of_file(file, offset, &read(file, offset, GROUP_HEADER)?))
}

/// The first group that begins at `from` (a multiple of a sector) or later and satisfies `wanted`.
pub fn find(
    file: &SegmentFile,
    from: u32,
    wanted: impl Fn(&GroupHeader) -> bool,
) -> io::Result<Option<Found>> {
    find_before(file, from, file.size, wanted)
}

/// The same, if it begins before `end`.
pub fn find_before(
    file: &SegmentFile,
    from: u32,
    end: u32,
    wanted: impl Fn(&GroupHeader) -> bool,
) -> io::Result<Option<Found>> {
    // In a sound log it is the first that one looks at.
    if let Some(found) = header_at(file, from)?.filter(|found| wanted(&found.header)) {
        return Ok(Some(found));
    }
    let (mut at, end) = (from, end.min(file.size));
    while at < end {
        let chunk = read(file, at, CHUNK.min((end - at) as usize))?;
        if chunk.is_empty() {
            break;
        }
        for (i, sector) in chunk.chunks(SECTOR as usize).enumerate() {
            let offset = at.saturating_add(i as u32 * SECTOR);
            if sector.starts_with(&GROUP_MAGIC)
                && let Some(found) = of_file(file, offset, sector).filter(|found| wanted(&found.header))
            {
                return Ok(Some(found));
            }
        }
        at = at.saturating_add(chunk.len() as u32);
    }
    Ok(None)
}

/// A record in a group that was read.
#[derive(Clone, Debug)]
pub struct Record {
    /// Where its header is, in the segment.
    pub offset: u32,
    pub header: RecordHeader,
    pub body: Bytes,
    /// Whether the body is what was written.
    pub intact: bool,
}

/// What could be read of a group.
pub struct Content {
    pub records: Vec<Record>,
    /// All records were found, whether their bodies are intact or not.
    pub complete: bool,
}

impl Content {
    pub fn intact(&self) -> bool {
        self.complete && self.records.iter().all(|record| record.intact)
    }
}

/// Reads a group's records, up to the first of which not even the header can be trusted.
pub fn content(file: &SegmentFile, group: &Found) -> io::Result<Content> {
    let bytes = read(file, group.offset, group.header.length as usize)?;
    let mut records = Vec::new();
    let mut at = GROUP_HEADER;
    while let Some(record) = record_at(file, group.offset, &bytes, at) {
        at += RECORD_HEADER + record.body.len();
        records.push(record);
    }
    let complete = records.len() == group.header.records as usize && at == group.header.length as usize;
    Ok(Content { records, complete })
}

/// The record at `at` of `bytes`, which begin at `base` of the segment.
pub fn record_at(file: &SegmentFile, base: u32, bytes: &Bytes, at: usize) -> Option<Record> {
    let header = RecordHeader::decode(file.salt, file.id, bytes.get(at..)?)?;
    let start = at + RECORD_HEADER;
    let end = start.checked_add(header.length as usize)?;
    if end > bytes.len() {
        return None;
    }
    let body = bytes.slice(start..end);
    let intact = crc32c::crc32c(&body) == header.body_crc;
    Some(Record { offset: base.checked_add(at as u32)?, header, body, intact })
}

/// Where the next group begins, if one follows.
pub fn after(group: &Found) -> u32 {
    group.offset.saturating_add(super::format::padded(group.header.length))
}
