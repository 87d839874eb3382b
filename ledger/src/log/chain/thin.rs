//! Replacing a closed link by a copy that has only what is needed of it.
//!
//! The copy is a ledger like one that was made ahead: until it is linked, a key of its own names it, by which the next
//! owner finds and deletes it. One transaction closes it, puts it in the link's place and deletes the ledger that it
//! replaces: a crash leaves the one or the other, never neither.

use std::time::Duration;

use metadata::Stored;
use planted::Bug;
use tokio::time::{Instant, sleep, sleep_until};

use super::{ChainLog, StoredLink, metadata_of, target_of};
use crate::error::Error;
use crate::log::{Health, Keep, Position, sparse};
use crate::quorum::Members;
use crate::writer::{End, LedgerWriter, Plan};

/// Read at once.
const CHUNK: usize = 1 << 20;
/// Of the copy, bytes on their way to the bookies.
const WINDOW: usize = 2 << 20;
const AGAIN: Duration = Duration::from_millis(500);

impl ChainLog {
    pub(super) async fn thin_link(&self, base: Position, keep: &Keep) -> Result<bool, Error> {
        let Some(old) = self.closed_link(base) else { return Ok(false) };
        self.is_well()?;
        let placement = self.cluster.place(self.settings.quorums, &Default::default()).await?;
        if placement.absent != Members::NONE {
            return Err(Error::Unavailable("a bookie is absent: links are copied when it is back".into()));
        }
        let metadata = metadata_of(&self.settings, &self.ownership, &placement, self.cluster.random());
        let copy = self.ownership.create(&metadata).await?;
        let swapped = match self.copy(&old, &copy, keep).await {
            Ok((end, bytes)) => self.swap(&old, &copy, end, bytes).await,
            Err(error) => Err(error),
        };
        if swapped != Ok(true) {
            // If this fails too, the next owner finds it.
            let discarded = self.ownership.discard_copy(&copy).await;
            discarded
                .unwrap_or_else(|error| tracing::info!(ledger = %copy.id, %error, "a copy is left behind"));
        }
        swapped
    }

    /// A copy takes room that others need while disks run full, and bookies that others need while some are away.
    fn is_well(&self) -> Result<(), Error> {
        self.ended()?;
        match &self.progress.borrow().health {
            Health::Good => Ok(()),
            unwell => Err(unfinished(format_args!("the log is not well: {unwell:?}"))),
        }
    }

    /// A link that is not the last.
    fn closed_link(&self, base: Position) -> Option<StoredLink> {
        let links = self.links.lock();
        links.iter().find(|stored| stored.link.base == base && stored.link.end.is_some()).cloned()
    }

    /// Writes what is needed of a link into its copy; where that ends, and how much it is.
    async fn copy(&self, old: &StoredLink, copy: &Stored, keep: &Keep) -> Result<(End, u64), Error> {
        let plan = Plan {
            window_bytes: WINDOW,
            patience: self.settings.patience,
            ..Plan::new(self.settings.quorums)
        };
        let target = target_of(copy, Members::NONE)?;
        let writer = LedgerWriter::resume(&self.cluster, copy.clone(), target, &plan);
        let (mut from, end) = (old.link.base, old.link.end.unwrap_or(old.link.base));
        let mut bytes = 0;
        while from < end {
            self.is_well()?;
            let began = Instant::now();
            let read = match self.readers.read(self, from, CHUNK).await {
                Err(Error::Trimmed { first, .. }) if first > from => {
                    from = first;
                    continue;
                }
                read => read?,
            };
            let begins = from;
            for entry in read.iter().filter(|entry| entry.position < end) {
                from = entry.end();
                let pieces = keep(entry)?;
                if !pieces.is_empty() {
                    let payload = sparse::encode(self.ownership.epoch, entry, &pieces);
                    bytes += sparse::stored_len(&payload);
                    writer.append_when_room(payload).await.map_err(unfinished)?;
                }
            }
            if from == begins {
                return Err(Error::Corrupt(format!("the log was read at {from}, and has nothing there")));
            }
            let nanos = (from.0 - begins.0).saturating_mul(1_000_000_000) / self.settings.thin_rate.max(1);
            sleep_until(began + Duration::from_nanos(nanos)).await;
        }
        Ok((self.finish_copy(&writer).await?, bytes))
    }

    /// Waits until every bookie has all of a copy: nothing of it is to be repaired.
    async fn finish_copy(&self, writer: &LedgerWriter) -> Result<End, Error> {
        let until = Instant::now() + self.settings.patience.deadline;
        loop {
            let (written, acknowledged, missing) = writer.standing();
            if planted::on(Bug::CopyNotAwaited) {
                return Ok(written);
            }
            if acknowledged == written && missing.is_empty() {
                return Ok(acknowledged);
            }
            if Instant::now() >= until {
                return Err(unfinished("its bookies do not all have it"));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Puts a copy in the place of its link. Goes on until it is clear whether that has happened, or the log has ended.
    async fn swap(&self, old: &StoredLink, copy: &Stored, end: End, bytes: u64) -> Result<bool, Error> {
        let _alone = self.changing.lock().await;
        let swapped = loop {
            self.ended()?;
            match self.ownership.replace(old, copy, end, bytes).await {
                Err(Error::Unavailable(why)) => {
                    tracing::info!(log = %self.ownership.name(), why, "whether a link was replaced is not clear yet");
                    sleep(AGAIN).await;
                }
                clear => break clear?,
            }
        };
        let Some(new) = swapped else { return Ok(false) };
        tracing::info!(
            log = %self.ownership.name(), base = old.link.base.0, from = %old.link.ledger, to = %copy.id, bytes,
            "a link holds only what is needed"
        );
        if let Some(link) = self.links.lock().iter_mut().find(|stored| stored.link.ledger == old.link.ledger)
        {
            *link = new;
        }
        self.readers.forget(old.link.ledger);
        Ok(true)
    }
}

/// A copy that comes to nothing is no end of the log.
fn unfinished(why: impl std::fmt::Display) -> Error {
    Error::Unavailable(format!("a link is not copied: {why}"))
}
