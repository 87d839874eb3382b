//! Entries from bookies that have them to one that should.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use net::{Failure, Inbox, Reply};
use protocol::bookie::{AddOptions, Answer, ReadOptions, Request};
use protocol::{BookieId, EntryId};
use tokio::time::timeout;

use super::Pace;
use crate::layout::Layout;
use crate::{Cluster, Error};

/// Bytes on their way at once in one task, about.
const WINDOW: usize = 4 << 20;
const MOST_ENTRIES: usize = 64;
/// The transport answers earlier than that.
const SILENCE: Duration = Duration::from_secs(40);

/// How to copy entries of one segment.
pub(super) struct Copying<'a> {
    pub cluster: &'a Cluster,
    pub layout: &'a Layout,
    pub pace: &'a Pace,
    /// Asked last.
    pub away: &'a BTreeSet<BookieId>,
    /// Where entries go.
    pub target: &'a BookieId,
    /// The place in the ensemble that is filled: which entries go there.
    pub index: usize,
    /// A typical entry's size, as far as it is known.
    pub entry_bytes: usize,
}

impl Copying<'_> {
    /// Copies what belongs at the place from `first` to `last`, and counts it in `copied`.
    pub(super) async fn range(&self, first: EntryId, last: EntryId, copied: &AtomicU64) -> Result<(), Error> {
        let mut window = Vec::new();
        let most = (WINDOW / self.entry_bytes.max(1)).clamp(1, MOST_ENTRIES);
        for entry in (first.0..=last.0).map(EntryId) {
            if self.layout.quorums.offset_of(entry, self.index).is_some() {
                window.push(entry);
            }
            if window.len() == most || (entry == last && !window.is_empty()) {
                let count = window.len() as u64;
                self.window(std::mem::take(&mut window)).await?;
                copied.fetch_add(count, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    async fn window(&self, entries: Vec<EntryId>) -> Result<(), Error> {
        let bodies = read(self.cluster, self.layout, &entries, Some(self.target), self.away).await?;
        self.pace.take(bodies.values().map(Bytes::len).sum()).await;
        let inbox = Inbox::new();
        let waiting = bodies.len();
        for (entry, body) in bodies {
            let options = AddOptions { recovery: true, ..AddOptions::default() };
            let (ledger, key) = (self.layout.ledger, self.layout.key);
            let request = Request::Add { ledger, entry, key, body: body.into(), options };
            self.cluster.bookies.send(self.target, request, inbox.expect(entry.0 as u64));
        }
        for (entry, reply) in replies(&inbox, waiting).await? {
            if reply != Ok(Answer::Added) {
                return Err(Error::Unavailable(format!(
                    "entry {entry} of ledger {} could not be written to {}: {}",
                    self.layout.ledger,
                    self.target,
                    said(reply)
                )));
            }
        }
        Ok(())
    }
}

fn said(reply: Reply) -> String {
    match reply {
        Ok(_) => "it answered something else".into(),
        Err(failure) => failure.to_string(),
    }
}

async fn replies(inbox: &Inbox, count: usize) -> Result<Vec<(u64, Reply)>, Error> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        match timeout(SILENCE, inbox.take()).await {
            Ok(replies) => all.extend(replies),
            Err(_) => return Err(Error::Unavailable("bookies do not answer".into())),
        }
    }
    Ok(all)
}

/// Reads entries as they are stored, each from any replica that has it whole, `not` excepted; from those
/// that are away only if nobody else has it.
pub(super) async fn read(
    cluster: &Cluster,
    layout: &Layout,
    entries: &[EntryId],
    not: Option<&BookieId>,
    away: &BTreeSet<BookieId>,
) -> Result<BTreeMap<EntryId, Bytes>, Error> {
    let mut found = BTreeMap::new();
    let mut refused: BTreeMap<EntryId, Vec<(BookieId, Failure)>> = BTreeMap::new();
    for attempt in 0..layout.quorums.write() {
        let inbox = Inbox::new();
        let mut asked = BTreeMap::new();
        for &entry in entries.iter().filter(|entry| !found.contains_key(*entry)) {
            let mut sources: Vec<_> = layout.replicas(entry).filter(|source| Some(*source) != not).collect();
            sources.sort_by_key(|source| away.contains(*source));
            let Some(&source) = sources.get(attempt) else { continue };
            let request = Request::Read { ledger: layout.ledger, entry, options: ReadOptions::default() };
            cluster.bookies.send(source, request, inbox.expect(entry.0 as u64));
            asked.insert(entry.0 as u64, (entry, source.clone()));
        }
        for (token, reply) in replies(&inbox, asked.len()).await? {
            let Some((entry, source)) = asked.remove(&token) else { continue };
            match reply {
                Ok(Answer::Entry { body, .. }) if layout.digest.open(layout.ledger, entry, &body).is_ok() => {
                    found.insert(entry, body);
                }
                Ok(_) => {
                    tracing::warn!(ledger = %layout.ledger, %entry, %source, "a copy is damaged; asking another")
                }
                Err(failure) => refused.entry(entry).or_default().push((source, failure)),
            }
        }
    }
    match entries.iter().find(|entry| !found.contains_key(*entry)) {
        None => Ok(found),
        Some(&entry) => Err(unreadable(layout, entry, refused.remove(&entry).unwrap_or_default())),
    }
}

fn unreadable(layout: &Layout, entry: EntryId, refused: Vec<(BookieId, Failure)>) -> Error {
    let why: Vec<String> = refused.iter().map(|(source, failure)| format!("{source}: {failure}")).collect();
    let why = if why.is_empty() { "its copies are damaged".to_owned() } else { why.join("; ") };
    let negative = |failure: &Failure| matches!(failure, Failure::Refused(refusal) if refusal.is_negative());
    if refused.iter().all(|(_, failure)| negative(failure)) {
        return Error::DataLoss { ledger: layout.ledger, entry, why };
    }
    Error::Unavailable(format!(
        "entry {entry} of ledger {} cannot be read from anybody now: {why}",
        layout.ledger
    ))
}
