//! Links of which little is needed any more are replaced by copies of that: one topic that is kept for long does not keep
//! the messages of all.

use std::ops::Range;
use std::sync::Weak;
use std::time::Duration;

use ledger::log::{Entry, Link, Position};
use planted::Bug;
use rustc_hash::FxHashMap;
use tokio::time::{Instant, sleep};

use super::Vb;
use super::holding::HeldLink;
use crate::checkpoint::run::Cursor;
use crate::entry::Contents;
use crate::entry::format::{CRC_LEN, PREAMBLE_LEN};
use crate::error::Error;

/// A link with more messages that are needed is left as it is: they are all in memory meanwhile.
const MOST: usize = 1 << 20;

/// Looks for a link that should be replaced now and then, for as long as the virtual broker is ours. One at a time.
pub(super) async fn run(vb: Weak<Vb>, every: Duration) {
    loop {
        sleep(every).await;
        let Some(vb) = vb.upgrade() else { return };
        if vb.core().ended() {
            return;
        }
        if let Err(error) = vb.thin().await {
            tracing::info!("{}: no link was replaced, again in {} s: {error}", vb.name, every.as_secs());
        }
    }
}

/// Where messages that are needed begin in the log, and how long each is.
type Needed = Vec<(u64, u32)>;

impl Vb {
    /// Replaces the link of which the smallest part is needed, if that is small enough; whether one was.
    pub async fn thin(&self) -> Result<bool, Error> {
        let percent = self.core().state().settings().sparse_percent;
        if percent == 0 || self.log.links().await?.len() < 2 {
            return Ok(false);
        }
        let links = self.holding().await?.links;
        let covered = self.cold().manifest().covered;
        let Some(link) = sparsest(&links, covered, u64::from(percent)) else { return Ok(false) };
        // Queues begin there for good once the next checkpoint is saved: no owner looks for what was before.
        let mins = self.by_queue(|queue, _| queue.min());
        self.checkpoint().await?;
        let Some(needed) = self.needed_of(&link, &mins).await? else { return Ok(false) };
        Ok(self.log.thin(link.base, &move |entry| parts(entry, &needed)).await?)
    }

    /// The messages of a link that are needed; `None` if they are too many.
    async fn needed_of(&self, link: &Link, mins: &FxHashMap<u64, u64>) -> Result<Option<Needed>, Error> {
        let within = link.base.0..link.end.map_or(link.base.0, |end| end.0);
        let (manifest, store) = (self.cold().manifest(), &self.cold().store);
        let (mut needed, mut since) = (Needed::new(), Instant::now());
        for run in manifest.rows.iter().filter(|run| run.from < within.end && within.start < run.to) {
            let Some(mut cursor) = Cursor::first(store, run).await? else { continue };
            loop {
                for group in &cursor.rows_once().await?.groups {
                    let Some(min) = mins.get(&group.queue) else { continue };
                    let rows = group.rows_from(*min).filter(|row| within.contains(&row.position));
                    needed.extend(rows.map(|row| (row.position, row.len)));
                }
                if needed.len() > MOST {
                    return Ok(None);
                }
                since = store.pace.rest(since).await;
                if !cursor.advance().await? {
                    break;
                }
            }
        }
        needed.sort_unstable();
        Ok(Some(needed))
    }
}

/// The link of which the smallest part is needed, if that is less than so many percent of what it takes. One that is
/// sparse already has to be much sparser.
fn sparsest(links: &[HeldLink], covered: u64, percent: u64) -> Option<Link> {
    let share = |held: &HeldLink| {
        let stored = held.link.stored().filter(|_| held.end <= covered)?;
        let percent = if held.link.sparse.is_some() { percent / 2 } else { percent };
        let live: u64 = held.by.values().sum();
        let share = live.saturating_mul(100).checked_div(stored)?;
        (share < percent).then(|| (share, held.link.clone()))
    };
    links.iter().filter_map(share).min_by_key(|(share, link)| (*share, link.base)).map(|(_, link)| link)
}

/// What an entry needs: its preamble, its table, and the messages that are needed; nothing without any.
fn parts(entry: &Entry, needed: &[(u64, u32)]) -> Result<Vec<Range<usize>>, ledger::Error> {
    let Position(base) = entry.position;
    let first = needed.partition_point(|(position, _)| *position < base);
    let messages = needed.iter().skip(first).take_while(|(position, _)| *position < entry.end().0);
    let messages: Vec<_> = messages.skip(usize::from(planted::on(Bug::NeededLeftOut))).collect();
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let corrupt = |why: String| ledger::Error::Corrupt(why);
    let contents = Contents::decode(base, &entry.body).map_err(|why| corrupt(why.to_string()))?;
    let mut parts = Vec::with_capacity(messages.len() + 2);
    parts.push(0..PREAMBLE_LEN);
    let mut rows = contents.rows.iter();
    for (position, len) in messages {
        let row = rows.find(|row| row.position == *position && row.len == *len);
        let row = row.ok_or_else(|| corrupt(format!("the entry at {base} has no message at {position}")))?;
        // It is read once more by whoever needs it: what is damaged is not copied as if it were whole.
        contents.record(row).map_err(|why| corrupt(why.to_string()))?;
        let from = (position - base) as usize;
        parts.push(from..from + *len as usize);
    }
    let table = contents.preamble.table_len as usize + CRC_LEN;
    parts.push(entry.body.len().saturating_sub(table)..entry.body.len());
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ledger::log::Epoch;
    use protocol::LedgerId;

    use super::*;
    use crate::state::TopicId;
    use crate::vb::holding::Holder;

    /// A link of 1000 bytes.
    fn held(base: u64, live: u64, sparse: Option<u64>) -> HeldLink {
        let end = base + 1000;
        let link = Link {
            base: Position(base),
            end: Some(Position(end)),
            ledger: LedgerId(1),
            epoch: Epoch(1),
            sparse,
        };
        HeldLink { link, end, by: BTreeMap::from([(Holder::Topic(TopicId(1)), live)]) }
    }

    fn found(links: &[HeldLink], percent: u64) -> Option<u64> {
        sparsest(links, 3000, percent).map(|link| link.base.0)
    }

    #[test]
    fn the_sparsest_link_below_the_limit_is_replaced_once_a_checkpoint_covers_it() {
        let links = [held(0, 400, None), held(1000, 299, None), held(2000, 100, None), held(3000, 0, None)];
        assert_eq!(found(&links, 30), Some(2000));
        assert_eq!(found(&links[..2], 30), Some(1000));
        assert_eq!(found(&links[..1], 30), None);
        let open = Link { end: None, ..links[0].link.clone() };
        assert_eq!(found(&[HeldLink { link: open, ..links[0].clone() }], 100), None);
    }

    #[test]
    fn a_sparse_link_is_replaced_again_only_for_much() {
        assert_eq!(found(&[held(0, 100, Some(400))], 30), None);
        assert_eq!(found(&[held(0, 50, Some(400))], 30), Some(0));
        assert_eq!(found(&[held(0, 0, Some(0))], 30), None, "there is nothing to save");
    }
}
