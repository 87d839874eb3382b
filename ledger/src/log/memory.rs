//! Logs that live in memory: for tests of what stands on a log, and the measure of what a log does.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use net::Wake;
use parking_lot::Mutex;
use protocol::LedgerId;
use tokio::sync::watch;

use super::format::Head;
use super::{
    Asking, Doing, Entry, Epoch, Health, Keep, Limits, Link, Log, LogName, Logs, MAX_APPEND, Position,
    Progress, Refused, acknowledged, follow_beside, sparse,
};
use crate::error::{Ended, Error};

/// All logs of one make-believe cluster. Clones share them.
#[derive(Clone, Default)]
pub struct MemoryLogs {
    limits: Limits,
    logs: Arc<Mutex<BTreeMap<LogName, Arc<Mutex<Chain>>>>>,
}

impl MemoryLogs {
    pub fn new(limits: Limits) -> MemoryLogs {
        MemoryLogs { limits, logs: Arc::default() }
    }

    /// From now on nothing of this log is acknowledged until [`MemoryLogs::release`]: for tests of what happens in
    /// between. What an owner leaves unacknowledged is gone when the next one opens.
    pub fn hold(&self, name: &LogName) {
        self.chain(name).lock().held = true;
    }

    /// Acknowledges everything appended so far, and holds nothing any more.
    pub fn release(&self, name: &LogName) {
        let chain = self.chain(name);
        let mut chain = chain.lock();
        chain.held = false;
        chain.acknowledge_all();
    }

    fn chain(&self, name: &LogName) -> Arc<Mutex<Chain>> {
        self.logs.lock().entry(name.clone()).or_insert_with(|| Arc::new(Mutex::new(Chain::new()))).clone()
    }
}

impl Logs for MemoryLogs {
    fn open<'a>(&'a self, name: &'a LogName) -> Doing<'a, Arc<dyn Log>> {
        Box::pin(async move {
            let chain = self.chain(name);
            let (epoch, progress) = chain.lock().steal();
            Ok(Arc::new(MemoryLog { limits: self.limits, epoch, progress, chain }) as Arc<dyn Log>)
        })
    }

    fn links<'a>(&'a self, name: &'a LogName) -> Doing<'a, Vec<Link>> {
        Box::pin(async move { Ok(self.chain(name).lock().links.iter().cloned().collect()) })
    }
}

struct MemoryLog {
    limits: Limits,
    epoch: Epoch,
    progress: watch::Receiver<Progress>,
    chain: Arc<Mutex<Chain>>,
}

/// One log. `first link's base <= acknowledged <= end`.
struct Chain {
    epoch: Epoch,
    links: VecDeque<Link>,
    next_ledger: i64,
    entries: BTreeMap<Position, Bytes>,
    end: Position,
    held: bool,
    /// The owner takes no more appends.
    sealing: bool,
    /// The present owner's; an earlier owner's was told that it has ended.
    progress: watch::Sender<Progress>,
}

impl Chain {
    fn new() -> Chain {
        Chain {
            epoch: Epoch(0),
            links: VecDeque::new(),
            next_ledger: 0,
            entries: BTreeMap::new(),
            end: Position::START,
            held: false,
            sealing: false,
            progress: watch::Sender::new(beginning(Position::START)),
        }
    }

    fn steal(&mut self) -> (Epoch, watch::Receiver<Progress>) {
        self.finish(Ended::Stolen);
        let acknowledged = self.progress.borrow().acknowledged;
        self.entries.split_off(&acknowledged);
        self.end = acknowledged;
        self.sealing = false;
        self.epoch = Epoch(self.epoch.0 + 1);
        self.progress = watch::Sender::new(beginning(acknowledged));
        self.add_link();
        (self.epoch, self.progress.subscribe())
    }

    fn finish(&mut self, how: Ended) {
        self.progress.send_if_modified(|p| {
            let first = p.ended.is_none();
            p.ended.get_or_insert(how);
            first
        });
    }

    /// Begins a link at the end; one without entries is replaced.
    fn add_link(&mut self) {
        if self.links.back().is_some_and(|last| last.base == self.end) {
            self.links.pop_back();
        }
        if let Some(last) = self.links.back_mut() {
            last.end = Some(self.end);
        }
        let ledger = LedgerId(self.next_ledger);
        self.next_ledger += 1;
        self.links.push_back(Link { base: self.end, end: None, ledger, epoch: self.epoch, sparse: None });
    }

    fn acknowledge_all(&mut self) {
        let end = self.end;
        self.progress.send_if_modified(|p| {
            let more = p.ended.is_none() && p.acknowledged < end;
            p.acknowledged = p.acknowledged.max(end);
            more
        });
    }

    fn first(&self) -> Position {
        self.links.front().map_or(self.end, |link| link.base)
    }

    fn thin(&mut self, base: Position, keep: &Keep) -> Result<bool, Error> {
        let Some(at) = self.links.iter().position(|link| link.base == base) else { return Ok(false) };
        let Some(link) = self.links.get_mut(at) else { return Ok(false) };
        let Some(end) = link.end else { return Ok(false) };
        let mut stored = 0;
        let mut kept = Vec::new();
        for (&position, body) in self.entries.range(base..end) {
            let entry = Entry { position, body: body.clone() };
            let pieces = keep(&entry)?;
            if pieces.is_empty() {
                continue;
            }
            let payload = sparse::encode(self.epoch, &entry, &pieces);
            stored += sparse::stored_len(&payload);
            kept.push(Head::decode(&payload, || format!("the entry at {position}"))?.1);
        }
        let behind = self.entries.split_off(&end);
        self.entries.split_off(&base);
        self.entries.extend(kept.into_iter().map(|entry| (entry.position, entry.body)));
        self.entries.extend(behind);
        (link.ledger, link.sparse) = (LedgerId(self.next_ledger), Some(stored));
        self.next_ledger += 1;
        Ok(true)
    }

    fn read(&self, from: Position, max_bytes: usize, acknowledged: Position) -> Result<Vec<Entry>, Error> {
        if from < self.first() {
            return Err(Error::Trimmed { asked: from, first: self.first() });
        }
        if from > acknowledged {
            return Err(Error::NotYet(format!("position {from}")));
        }
        let begin = self.entries.range(..=from).next_back().map_or(from, |(position, _)| *position);
        let mut read = Vec::new();
        let mut bytes = 0;
        for (&position, body) in self.entries.range(begin..) {
            let entry = Entry { position, body: body.clone() };
            if entry.end() <= from {
                continue;
            }
            if position >= acknowledged || (bytes > 0 && bytes + body.len() > max_bytes) {
                break;
            }
            if read.is_empty() && position > from {
                return Err(Error::Trimmed { asked: from, first: position });
            }
            bytes += body.len();
            read.push(entry);
        }
        Ok(read)
    }
}

fn beginning(acknowledged: Position) -> Progress {
    Progress { acknowledged, health: Health::Good, ended: None }
}

impl MemoryLog {
    /// The chain, if it is still this handle's.
    fn owned(&self) -> Result<parking_lot::MutexGuard<'_, Chain>, Ended> {
        let chain = self.chain.lock();
        match self.progress.borrow().ended.clone() {
            Some(ended) => Err(ended),
            None => Ok(chain),
        }
    }
}

impl Log for MemoryLog {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn append(&self, parts: &[Bytes]) -> Result<Position, Refused> {
        let body = parts.concat();
        if body.is_empty() || body.len() > MAX_APPEND {
            return Err(Refused::Size(body.len()));
        }
        let mut chain = self.owned()?;
        if chain.sealing {
            return Err(Ended::Sealed.into());
        }
        let position = chain.end;
        let unacknowledged = position.0 - self.progress.borrow().acknowledged.0;
        if !self.limits.admits(unacknowledged as usize, body.len()) {
            return Err(Refused::Full);
        }
        chain.end = position.after(body.len());
        chain.entries.insert(position, body.into());
        if !chain.held {
            chain.acknowledge_all();
        }
        let size = chain.links.back().map_or(0, |link| chain.end.0 - link.base.0);
        if size >= self.limits.roll_bytes && !chain.held {
            chain.add_link();
        }
        Ok(position)
    }

    fn room(&self, bytes: usize) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut progress = self.progress.clone();
        Box::pin(async move {
            let fits = |p: &Progress| {
                let held = self.chain.lock().end.0 - p.acknowledged.0;
                p.ended.is_some() || self.limits.admits(held as usize, bytes)
            };
            loop {
                let now = progress.borrow_and_update().clone();
                if fits(&now) || progress.changed().await.is_err() {
                    return;
                }
            }
        })
    }

    fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    fn follow(&self, follower: Weak<dyn Wake>) {
        follow_beside(self.progress.clone(), follower);
    }

    fn read(&self, from: Position, max_bytes: usize) -> Doing<'_, Vec<Entry>> {
        Box::pin(async move {
            let chain = self.chain.lock();
            let acknowledged = self.progress.borrow().acknowledged;
            chain.read(from, max_bytes, acknowledged)
        })
    }

    fn read_part(&self, from: Position, len: usize) -> Asking<'_, Bytes> {
        Box::pin(async move {
            let entry = self.read(from, 1).await.ok()?.into_iter().next()?;
            let within = from.0.checked_sub(entry.position.0)? as usize;
            (within + len <= entry.body.len()).then(|| entry.body.slice(within..within + len))
        })
    }

    fn doubt(&self, _at: Position) {}

    fn trim(&self, up_to: Position) -> Doing<'_, Position> {
        Box::pin(async move {
            let mut chain = self.owned()?;
            while chain.links.front().and_then(|link| link.end).is_some_and(|end| end <= up_to) {
                chain.links.pop_front();
            }
            let first = chain.first();
            chain.entries = chain.entries.split_off(&first);
            Ok(first)
        })
    }

    fn thin<'a>(&'a self, base: Position, keep: &'a Keep) -> Doing<'a, bool> {
        Box::pin(async move { self.owned()?.thin(base, keep) })
    }

    fn links(&self) -> Doing<'_, Vec<Link>> {
        Box::pin(async move { Ok(self.owned()?.links.iter().cloned().collect()) })
    }

    fn roll(&self) -> Doing<'_, ()> {
        Box::pin(async move {
            let mut chain = self.owned()?;
            if self.progress.borrow().acknowledged == chain.end {
                chain.add_link();
            }
            Ok(())
        })
    }

    fn seal(&self) -> Doing<'_, Position> {
        Box::pin(async move {
            let end = {
                let mut chain = self.owned()?;
                chain.sealing = true;
                chain.end
            };
            acknowledged(self, end).await?;
            self.owned()?.finish(Ended::Sealed);
            Ok(end)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::append_when_room;

    crate::log_conformance!(|limits| async move { Arc::new(MemoryLogs::new(limits)) as Arc<dyn Logs> });

    #[tokio::test]
    async fn a_held_log_fills_its_window_and_goes_on_when_released() {
        let logs = MemoryLogs::new(Limits { window_bytes: 10, ..Limits::default() });
        let name = LogName::new("a").unwrap();
        logs.hold(&name);
        let log = logs.open(&name).await.unwrap();
        log.append(&[Bytes::from_static(b"12345678")]).unwrap();
        assert_eq!(log.append(&[Bytes::from_static(b"123")]), Err(Refused::Full));
        let parts = [Bytes::from_static(b"123")];
        let waiting = append_when_room(&*log, &parts);
        let release = async { logs.release(&name) };
        let (position, ()) = tokio::join!(waiting, release);
        assert_eq!(position, Ok(Position(8)));
    }
}
