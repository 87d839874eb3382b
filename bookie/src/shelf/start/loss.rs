//! The file `loss`: a start has found a loss that the log does not tell of yet.
//!
//! What shows a loss may go while the disk is opened: an index that does not go with the segments is made again, files
//! that do not count are removed. A start that ends there must not leave a disk that looks whole. So the file is made
//! before anything else changes, and goes once the shelf's state is in the log. It is empty, so that a full disk has
//! room for it.

use super::*;

const FILE: &str = "loss";

impl<D: Duty> Start<D> {
    /// What an earlier start left.
    pub(super) fn read_loss(&mut self) -> Result<(), Error> {
        let files = self.disk().list().map_err(Error::disk("listing a data folder"))?;
        self.noted = files.iter().any(|(name, _)| name == FILE);
        if self.noted {
            self.lost = Some("an earlier start found a loss, and ended before the log told of it");
        }
        Ok(())
    }

    /// Before anything is changed or saved that goes beyond what was lost.
    pub(super) fn note_loss(&mut self) -> Result<(), Error> {
        if self.lost.is_none() || self.noted {
            return Ok(());
        }
        let noted = self.disk().create(FILE, 0).and_then(|_| self.disk().sync_folder());
        noted.map_err(Error::disk("noting a loss"))?;
        self.noted = true;
        Ok(())
    }

    /// The log tells of it, durably.
    pub(super) fn loss_is_told(&mut self) -> Result<(), Error> {
        if self.noted {
            let gone = self.disk().remove(FILE).and_then(|()| self.disk().sync_folder());
            gone.map_err(Error::disk("removing the note of a loss"))?;
        }
        Ok(())
    }

    fn disk(&self) -> &dyn Disk {
        self.shelf.shared.segments.disk()
    }
}
