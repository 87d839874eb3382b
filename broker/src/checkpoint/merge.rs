//! Merging neighbouring runs of one level into one of the next, so that a row is written a few times in its life and a
//! search looks at few runs.

use std::sync::Arc;

use super::block::Item;
use super::run::{Builder, Cursor, Run, Span};
use super::store::Store;
use crate::error::Error;

/// Runs of one level that are merged together.
const FAN_IN: usize = 8;

/// The most that one run may cover: it is given up as a whole.
#[derive(Clone, Copy, Debug)]
pub struct Widest {
    pub bytes: u64,
    pub milliseconds: i64,
}

/// The oldest neighbours that should become one.
pub fn candidates(runs: &[Arc<Run>], widest: Widest) -> Option<&[Arc<Run>]> {
    let same = |a: &Arc<Run>, b: &Arc<Run>| a.level == b.level;
    let fits = |runs: &&[Arc<Run>]| match runs {
        [first, .., last] => {
            last.to.saturating_sub(first.from) <= widest.bytes
                && last.newest.saturating_sub(first.oldest) <= widest.milliseconds
        }
        _ => false,
    };
    runs.chunk_by(same).flat_map(|same| same.windows(FAN_IN)).find(fits)
}

/// A run that replaces its inputs.
pub struct Merged {
    pub from: u64,
    pub to: u64,
    pub run: Option<Run>,
}

impl Merged {
    /// Puts the run in the place of those it was made of.
    pub fn install(self, runs: &mut Vec<Arc<Run>>) {
        let covers = |run: &Arc<Run>| self.from <= run.from && run.to <= self.to;
        let Some(at) = runs.iter().position(covers) else { return };
        runs.retain(|run| !covers(run));
        if let Some(run) = self.run {
            runs.insert(at, Arc::new(run));
        }
    }
}

fn span(runs: &[Arc<Run>]) -> Span {
    Span {
        level: runs.iter().map(|run| run.level).max().unwrap_or(0).saturating_add(u8::from(runs.len() > 1)),
        from: runs.first().map_or(0, |run| run.from),
        to: runs.last().map_or(0, |run| run.to),
    }
}

/// Makes one run of several neighbours, without the rows that need not be kept.
pub async fn merge<I: Item>(
    store: &Store,
    runs: &[Arc<Run>],
    keep: impl Fn(&I) -> bool + Send,
) -> Result<Merged, Error> {
    let mut sources = Vec::new();
    for run in runs {
        let Some(cursor) = Cursor::first(store, run).await? else { continue };
        let items = I::leaf(&cursor).await?;
        sources.push(Source { cursor, items, at: 0 });
    }
    let span = span(runs);
    let mut builder = Builder::new(store, span);
    while let Some((index, item)) = least(&sources) {
        if keep(&item) {
            builder.push(item).await?;
        }
        let Some(source) = sources.get_mut(index) else { break };
        source.at += 1;
        if source.at < source.items.len() {
            continue;
        }
        if source.cursor.advance().await? {
            (source.items, source.at) = (I::leaf(&source.cursor).await?, 0);
        } else {
            sources.remove(index);
        }
    }
    Ok(Merged { from: span.from, to: span.to, run: builder.finish().await? })
}

/// One input: a leaf of it, and the place in that.
struct Source<'a, I> {
    cursor: Cursor<'a>,
    items: Vec<I>,
    at: usize,
}

fn least<I: Item>(sources: &[Source<'_, I>]) -> Option<(usize, I)> {
    let heads =
        sources.iter().enumerate().filter_map(|(at, source)| Some((at, *source.items.get(source.at)?)));
    heads.min_by_key(|(_, item)| item.key())
}
