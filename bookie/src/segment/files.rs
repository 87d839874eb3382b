//! Segment files: allocated, opened, recycled.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;

use disk::{Disk, File};
use parking_lot::Mutex;

use super::format::{BadHeader, SEGMENT_HEADER, SegmentHeader};
use crate::error::Error;
use crate::position::SegmentId;

const SEGMENT: &str = "segment-";
const SPARE: &str = "spare-";
/// A segment that is being made; one that is found at start was not finished.
const NEXT: &str = "next";

/// One open segment.
pub struct SegmentFile {
    pub id: SegmentId,
    pub salt: u64,
    pub size: u32,
    pub file: Arc<dyn File>,
}

/// All segments of one disk. Files are opened when they are needed, and only so many are kept open.
pub struct Segments {
    disk: Arc<dyn Disk>,
    identity: [u8; 16],
    capacity: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    files: BTreeMap<SegmentId, (Arc<SegmentFile>, u64)>,
    clock: u64,
}

/// What is on the disk.
pub struct Listing {
    pub segments: Vec<SegmentId>,
    /// Dead segments to use again.
    pub spares: Vec<Spare>,
    pub unfinished: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spare {
    name: String,
    pub size: u64,
}

pub(crate) fn name_of(id: SegmentId) -> String {
    format!("{SEGMENT}{:010}", id.0)
}

impl Segments {
    pub fn new(disk: Arc<dyn Disk>, identity: [u8; 16], capacity: usize) -> Segments {
        Segments { disk, identity, capacity: capacity.max(4), open: Mutex::default() }
    }

    pub fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    pub fn list(&self) -> io::Result<Listing> {
        let mut listing = Listing { segments: Vec::new(), spares: Vec::new(), unfinished: false };
        for (name, size) in self.disk.list()? {
            if let Some(id) = name.strip_prefix(SEGMENT).and_then(|id| id.parse().ok()) {
                listing.segments.push(SegmentId(id));
            } else if name.starts_with(SPARE) {
                listing.spares.push(Spare { name, size });
            } else if name == NEXT {
                listing.unfinished = true;
            }
        }
        listing.segments.sort();
        Ok(listing)
    }

    /// Removes what an earlier process did not finish making.
    pub fn remove_unfinished(&self) -> io::Result<()> {
        self.disk.remove(NEXT)
    }

    pub fn remove_spare(&self, spare: &Spare) -> io::Result<()> {
        self.disk.remove(&spare.name)
    }

    /// Makes a segment with all its space, durable with its header. An error of kind `StorageFull` or
    /// `QuotaExceeded` means that there was no room, and that nothing has changed.
    pub fn make(
        &self,
        id: SegmentId,
        salt: u64,
        size: u32,
        spare: Option<&Spare>,
    ) -> io::Result<Arc<SegmentFile>> {
        let (file, temporary) = match spare {
            Some(spare) => (self.disk.open(&spare.name)?, spare.name.as_str()),
            None => (self.disk.create(NEXT, u64::from(size))?, NEXT),
        };
        let header = SegmentHeader { segment: id, identity: self.identity, salt, size };
        // Past this point an error is not about room any more, whatever its kind.
        let finish = || {
            file.write_at(0, &[IoSlice::new(&header.encode())])?;
            file.sync()?;
            self.disk.rename(temporary, &name_of(id))?;
            self.disk.sync_folder()
        };
        finish().map_err(|e: io::Error| io::Error::other(e.to_string()))?;
        let made = Arc::new(SegmentFile { id, salt, size, file });
        self.keep(&made);
        Ok(made)
    }

    /// The segment's file, if it is open.
    pub fn opened(&self, id: SegmentId) -> Option<Arc<SegmentFile>> {
        let mut open = self.open.lock();
        open.clock += 1;
        let now = open.clock;
        let (file, used) = open.files.get_mut(&id)?;
        *used = now;
        Some(file.clone())
    }

    /// The segment's file, its header checked when it is opened.
    pub fn open(&self, id: SegmentId) -> Result<Arc<SegmentFile>, OpenError> {
        if let Some(file) = self.opened(id) {
            return Ok(file);
        }
        let file = self.disk.open(&name_of(id)).map_err(OpenError::Io)?;
        let mut bytes = [0; SEGMENT_HEADER];
        let got = file.read_at(0, &mut bytes).map_err(OpenError::Io)?;
        let header = SegmentHeader::decode(&bytes[..got]).map_err(|bad| match bad {
            BadHeader::Version(version) => OpenError::Version(version),
            BadHeader::Damaged => OpenError::Damaged,
        })?;
        if self.identity != header.identity {
            return Err(OpenError::Foreign);
        }
        let size = file.size().map_err(OpenError::Io)?;
        if header.segment != id || u64::from(header.size) != size {
            return Err(OpenError::Damaged);
        }
        let opened = Arc::new(SegmentFile { id, salt: header.salt, size: header.size, file });
        self.keep(&opened);
        Ok(opened)
    }

    fn keep(&self, file: &Arc<SegmentFile>) {
        let mut open = self.open.lock();
        let now = open.clock;
        open.files.insert(file.id, (file.clone(), now));
        if open.files.len() > self.capacity
            && let Some(oldest) = open.files.iter().min_by_key(|(_, (_, used))| *used).map(|(id, _)| *id)
        {
            open.files.remove(&oldest);
        }
    }

    /// Takes a segment away; kept for use again if `spare`.
    pub fn remove(&self, id: SegmentId, spare: bool) -> io::Result<Option<Spare>> {
        self.open.lock().files.remove(&id);
        if !spare {
            self.disk.remove(&name_of(id))?;
            self.disk.sync_folder()?;
            return Ok(None);
        }
        let file = self.disk.open(&name_of(id))?;
        let spare = Spare { name: format!("{SPARE}{:010}", id.0), size: file.size()? };
        self.disk.rename(&name_of(id), &spare.name)?;
        self.disk.sync_folder()?;
        Ok(Some(spare))
    }
}

/// Why a segment cannot be used.
#[derive(Debug)]
pub enum OpenError {
    Io(io::Error),
    /// Its header is not what was written.
    Damaged,
    Foreign,
    Version(u16),
}

impl OpenError {
    /// As an error of a read.
    pub fn into_io(self) -> io::Error {
        match self {
            OpenError::Io(error) => error,
            OpenError::Damaged => io::Error::other("the segment's header is damaged"),
            OpenError::Foreign => io::Error::other("it is a segment of another disk"),
            OpenError::Version(version) => io::Error::other(format!("it has version {version}: upgrade")),
        }
    }

    /// As an error of a start. Damage is not one: it is dealt with where it is found.
    pub fn into_refusal(self, id: SegmentId) -> Error {
        match self {
            OpenError::Foreign => Error::Foreign { file: name_of(id) },
            OpenError::Version(version) => Error::Version { file: name_of(id), version },
            other => Error::disk("opening a segment")(other.into_io()),
        }
    }
}

/// Whether an error of allocating says that there is no room, and nothing worse.
pub fn is_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
