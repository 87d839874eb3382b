//! What goes wrong in a bookie, by what its caller does about it.

use std::io;
use std::sync::Arc;

use protocol::BookieId;

use crate::identity::Refused;
use crate::position::SegmentId;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Stop the bookie. What the failed call covered is in doubt, so it is never tried again.
    #[error("{what} failed: {source}. The disk is not used any more; check it, then start the bookie again")]
    Disk { what: &'static str, source: Arc<io::Error> },
    /// Stop the bookie: the index is rebuilt from segments at the next start, if need be.
    #[error("the index: {what} failed: {source}")]
    Index { what: &'static str, source: Arc<io::Error> },
    /// The shelf has stopped for an earlier error.
    #[error("the shelf has stopped: {0}")]
    Stopped(Arc<str>),
    /// Refuse to start.
    #[error("{file} belongs to another disk or bookie: put this bookie's own disk back, or remove the file")]
    Foreign { file: String },
    /// Refuse to start.
    #[error(
        "{file} has format version {version}, which this release cannot read: run the release that wrote it"
    )]
    Version { file: String, version: u16 },
    /// Refuse to start.
    #[error("{0}")]
    Config(String),
    /// Refuse to start.
    #[error(transparent)]
    Identity(#[from] Refused),
    /// Refuse to start: try again later.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    /// Stop the bookie, or refuse to start.
    #[error(
        "another process serves as bookie {0}: one of them uses a copy of the other's disks. Stop one of them"
    )]
    Rival(BookieId),
    /// Try again when there is room: not even the reserve is left.
    #[error("there is no room on the disk, not even for marks: free some space")]
    NoRoom,
    /// The caller asked for a segment that cannot be dropped or copied now.
    #[error("segment {0} is in use, or not there")]
    Segment(SegmentId),
}

impl Error {
    pub(crate) fn disk(what: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Disk { what, source: Arc::new(source) }
    }

    pub(crate) fn index(what: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Index { what, source: Arc::new(source) }
    }
}
