//! Reading a ledger, open or closed: from any replica whose bytes verify, never beyond what is confirmed.
//!
//! [`fetch`] is pure: which replica to ask, when to ask a second one, what the answers prove. [`LedgerReader`] drives
//! it, [`part`] reads less than entries; [`ReadAhead`] keeps several reads under way for somebody who reads on and on.

mod ahead;
pub mod fetch;
mod part;

use std::sync::Arc;
use std::time::Duration;

use metadata::{State, Stored};
use net::Inbox;
use parking_lot::Mutex;
use protocol::bookie::{Answer, ReadOptions, Request};
use protocol::{EntryId, LedgerId};
use tokio::time::{Instant, timeout, timeout_at};

use crate::Error;
use crate::cluster::Cluster;
use crate::layout::Layout;
use crate::quorum::Members;
use crate::writer::End;

pub use ahead::ReadAhead;
pub use fetch::LedgerEntry;
use fetch::{Fetch, Sent};

/// How patient a reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadPatience {
    /// A second replica is asked when the first has not answered for so long.
    pub hedge_after: Duration,
    pub deadline: Duration,
}

impl Default for ReadPatience {
    fn default() -> ReadPatience {
        ReadPatience { hedge_after: Duration::from_millis(250), deadline: Duration::from_secs(30) }
    }
}

/// The most bytes asked of a bookie at once: its answer has to fit a frame.
pub const MOST_BYTES: usize = 4 << 20;
/// Single reads that are under way at once where entries cannot be read many at a time.
const MOST_SINGLES: usize = 64;

/// Reads one ledger. Cheap to share behind an `Arc`.
pub struct LedgerReader {
    cluster: Cluster,
    patience: ReadPatience,
    ledger: LedgerId,
    view: Mutex<View>,
}

struct View {
    layout: Arc<Layout>,
    closed: Option<End>,
    /// Entries up to here may be read. Never falls.
    confirmed: EntryId,
    /// The member that is asked first where every member has every entry.
    favourite: usize,
    /// Apache's bookies before 4.17 cannot read many entries at once.
    batches: bool,
    /// Nor can they read parts of entries.
    parts: bool,
}

impl LedgerReader {
    /// Opens a ledger as it is, without recovery: its writer is not disturbed.
    pub async fn open(cluster: &Cluster, ledger: LedgerId) -> Result<LedgerReader, Error> {
        let stored = cluster.stored(ledger).await?;
        LedgerReader::of(cluster, &stored, ReadPatience::default())
    }

    pub fn of(cluster: &Cluster, stored: &Stored, patience: ReadPatience) -> Result<LedgerReader, Error> {
        let layout = Arc::new(Layout::of(stored)?);
        let favourite = cluster.random() as usize % layout.quorums.ensemble();
        let view =
            View { layout, closed: None, confirmed: EntryId::NONE, favourite, batches: true, parts: true };
        let reader =
            LedgerReader { cluster: cluster.clone(), patience, ledger: stored.id, view: Mutex::new(view) };
        reader.learn(stored)?;
        Ok(reader)
    }

    pub fn ledger(&self) -> LedgerId {
        self.ledger
    }

    /// Where the ledger ends, if it is closed.
    pub fn closed(&self) -> Option<End> {
        self.view.lock().closed
    }

    /// The last entry that may be read, as far as is known here.
    pub fn confirmed(&self) -> EntryId {
        self.view.lock().confirmed
    }

    /// What the ledger's own writer knows to be acknowledged.
    pub fn confirm(&self, entry: EntryId) {
        let mut view = self.view.lock();
        if view.closed.is_none() {
            view.confirmed = view.confirmed.max(entry);
        }
    }

    /// What the ledger's own writer knows of its end.
    pub fn closed_at(&self, end: End) {
        let mut view = self.view.lock();
        view.closed = Some(end);
        view.confirmed = end.last;
    }

    fn learn(&self, stored: &Stored) -> Result<(), Error> {
        let layout = Arc::new(Layout::of(stored)?);
        let mut view = self.view.lock();
        view.layout = layout;
        if let State::Closed { last, length } = stored.metadata.state {
            view.closed = Some(End { last, length });
            view.confirmed = last;
        }
        Ok(())
    }

    /// Reads the metadata again: a repair may have moved replicas, a writer may have closed the ledger.
    pub async fn refresh(&self) -> Result<(), Error> {
        self.learn(&self.cluster.stored(self.ledger).await?)
    }

    /// Asks how far the ledger may be read now: its end if it is closed, else the greatest LAC that its bookies know
    /// of, which may lag behind the writer.
    pub async fn last_confirmed(&self) -> Result<EntryId, Error> {
        if self.closed().is_none() {
            self.refresh().await?;
        }
        if self.closed().is_none() {
            let lac = self.ask_lac().await?;
            self.confirm(lac);
        }
        Ok(self.confirmed())
    }

    async fn ask_lac(&self) -> Result<EntryId, Error> {
        let layout = self.view.lock().layout.clone();
        let segment = layout.last_segment();
        let inbox = Inbox::new();
        for (index, bookie) in segment.ensemble.iter().enumerate() {
            let options = ReadOptions::default();
            let request = Request::Read { ledger: self.ledger, entry: EntryId::NONE, options };
            self.cluster.bookies.send(bookie, request, inbox.expect(index as u64));
        }
        let mut lac = None;
        let (mut answered, mut replies) = (Members::NONE, 0);
        let until = Instant::now() + self.patience.deadline;
        while replies < segment.ensemble.len() && !layout.quorums.covered_by(answered) {
            let Ok(batch) = timeout_at(until, inbox.take()).await else { break };
            for (token, reply) in batch {
                replies += 1;
                match reply {
                    Ok(Answer::Entry { body, .. }) => {
                        if let Ok((header, _)) = layout.digest.open_any(&body)
                            && header.ledger == self.ledger
                        {
                            answered.insert(token as usize);
                            lac = lac.max(Some(header.lac));
                        }
                    }
                    Err(net::Failure::Refused(refusal)) if refusal.is_negative() => {
                        answered.insert(token as usize);
                        lac = lac.max(Some(EntryId::NONE));
                    }
                    Ok(_) | Err(_) => {}
                }
            }
        }
        // What is behind an earlier segment's end was confirmed before the next segment began.
        let before = EntryId(segment.first.0 - 1);
        let none = || Error::Unavailable(format!("no bookie of ledger {} answers", self.ledger));
        lac.map(|lac| lac.max(before)).ok_or_else(none)
    }

    /// Consecutive entries from `first` on, up to `last`: about `max_bytes` of them, but at least one.
    pub async fn read(
        &self,
        first: EntryId,
        last: EntryId,
        max_bytes: usize,
    ) -> Result<Vec<LedgerEntry>, Error> {
        let (layout, confirmed, favourite, batches) = {
            let view = self.view.lock();
            (view.layout.clone(), view.confirmed, view.favourite, view.batches)
        };
        if first.is_none() || first > last {
            return Err(Error::Invalid(format!("entries {first} to {last} are no range")));
        }
        if last > confirmed {
            return Err(Error::NotYet(format!("entry {last} of ledger {}", self.ledger)));
        }
        let max_bytes = max_bytes.clamp(1, MOST_BYTES);
        let read = if batches && layout.quorums.ensemble() == layout.quorums.write() {
            let fetch = Fetch::many(layout, first, last, max_bytes, favourite);
            self.run(vec![fetch]).await
        } else {
            self.read_singles(layout, first, last, max_bytes).await
        };
        match read {
            // The replicas may have been moved: look once more where they are.
            Err(Error::DataLoss { .. } | Error::Unavailable(_)) if self.moved().await.unwrap_or(false) => {
                let layout = self.view.lock().layout.clone();
                self.run(vec![Fetch::one(layout, first)]).await
            }
            read => read,
        }
    }

    async fn moved(&self) -> Result<bool, Error> {
        let before = self.view.lock().layout.clone();
        self.refresh().await?;
        Ok(self.view.lock().layout.segments != before.segments)
    }

    /// One entry, whole: the caller knows how large it may be.
    async fn read_singles(
        &self,
        layout: Arc<Layout>,
        first: EntryId,
        last: EntryId,
        max_bytes: usize,
    ) -> Result<Vec<LedgerEntry>, Error> {
        let mut entries = self.run(vec![Fetch::one(layout.clone(), first)]).await?;
        let size = entries.first().map_or(1, |e| e.payload.len()).max(256);
        let more = ((max_bytes / size).min(MOST_SINGLES) as i64 - 1).min(last.0 - first.0);
        if more > 0 {
            let rest = (first.0 + 1..=first.0 + more).map(|e| Fetch::one(layout.clone(), EntryId(e)));
            entries.extend(self.run(rest.collect()).await?);
        }
        Ok(entries)
    }

    /// Runs fetches of consecutive entries to their end; what they found, in order.
    async fn run(&self, mut fetches: Vec<Fetch>) -> Result<Vec<LedgerEntry>, Error> {
        let inbox = Inbox::new();
        let until = Instant::now() + self.patience.deadline;
        let mut open = fetches.len();
        for (at, fetch) in fetches.iter_mut().enumerate() {
            self.ask_next(at, fetch, &inbox);
        }
        let mut hedge_at = Instant::now() + self.patience.hedge_after;
        while open > 0 {
            let Ok(replies) = timeout_at(hedge_at.min(until), inbox.take()).await else {
                if Instant::now() >= until {
                    return Err(Error::Unavailable(format!(
                        "ledger {} cannot be read: no answer for {} s",
                        self.ledger,
                        self.patience.deadline.as_secs()
                    )));
                }
                let waiting = fetches.iter_mut().enumerate().filter(|(_, fetch)| fetch.is_open());
                waiting.for_each(|(at, fetch)| self.ask_next(at, fetch, &inbox));
                hedge_at = Instant::now() + self.patience.hedge_after;
                continue;
            };
            for (token, reply) in replies {
                let (at, replica) = ((token >> 8) as usize, (token & 0xff) as usize);
                let Some(fetch) = fetches.get_mut(at).filter(|fetch| fetch.is_open()) else { continue };
                if fetch.answered(replica, reply) {
                    self.ask_next(at, fetch, &inbox);
                }
                open -= usize::from(!fetch.is_open());
            }
        }
        let mut entries = Vec::new();
        for fetch in fetches {
            self.note(&fetch);
            entries.extend(fetch.into_result()?);
        }
        Ok(entries)
    }

    fn ask_next(&self, at: usize, fetch: &mut Fetch, inbox: &Arc<Inbox>) {
        if let Some(Sent { replica, bookie, request }) = fetch.ask() {
            self.cluster.bookies.send(&bookie, request, inbox.expect((at as u64) << 8 | replica as u64));
        }
    }

    /// Remembers who answered, and who cannot read batches.
    fn note(&self, fetch: &Fetch) {
        let mut view = self.view.lock();
        if let Some(member) = fetch.answered_by() {
            view.favourite = member;
        }
        view.batches &= !fetch.cannot_batch();
    }
}

/// Reads the last entry that bookies of a ledger hold, whether or not it is confirmed: for looking at, not for use.
pub async fn last_stored(cluster: &Cluster, ledger: LedgerId) -> Result<Option<LedgerEntry>, Error> {
    let layout = Layout::of(&cluster.stored(ledger).await?)?;
    let inbox = Inbox::new();
    for (index, bookie) in layout.last_segment().ensemble.iter().enumerate() {
        let request = Request::Read { ledger, entry: EntryId::NONE, options: ReadOptions::default() };
        cluster.bookies.send(bookie, request, inbox.expect(index as u64));
    }
    let mut greatest: Option<LedgerEntry> = None;
    let mut left = layout.quorums.ensemble();
    while left > 0
        && let Ok(replies) = timeout(ReadPatience::default().deadline, inbox.take()).await
    {
        left -= replies.len();
        for (_, reply) in replies {
            if let Ok(Answer::Entry { body, .. }) = reply
                && let Ok((header, payload)) = layout.digest.open_any(&body)
                && greatest.as_ref().is_none_or(|g| header.entry > g.entry)
            {
                greatest = Some(LedgerEntry { entry: header.entry, length: header.length, payload });
            }
        }
    }
    Ok(greatest)
}

#[cfg(test)]
mod tests;
