//! Whether to read what lies between: by how much of each region of the log was asked for lately, by anybody.

use std::collections::{BTreeMap, VecDeque};

use crate::index::Row;

const REGION: u64 = 1 << 20;
/// What a disk reads at least.
const PAGE: u64 = 4096;
/// Regions that are remembered.
const KEPT: usize = 4096;

/// The pages of a region that somebody wanted: each counts once, however many want something of it.
type Pages = [u64; (REGION / PAGE / 64) as usize];

/// A region of which less was wanted so far is read like the most wanted of so many before it: who reads a stretch of the
/// log comes from there, and others come behind him.
const BEFORE: u64 = 8;

/// The first and the last page of a row.
fn pages(row: &Row) -> (u64, u64) {
    (row.position / PAGE, (row.position + u64::from(row.len.max(1)) - 1) / PAGE)
}

/// Whether some rows are so close to each other that it is best to read what is between them along.
pub fn are_near(rows: &[Row]) -> bool {
    let [first, _, _, .., last] = rows else { return false };
    let span = (last.position + u64::from(last.len)).saturating_sub(first.position);
    let (mut wanted, mut next) = (0, 0);
    for (first, last) in rows.iter().map(pages) {
        wanted += (last + 1).saturating_sub(next.max(first));
        next = next.max(last + 1);
    }
    wanted * PAGE >= span / 2
}

/// Pages that were asked for, by region.
#[derive(Default)]
pub struct Demand {
    pages: BTreeMap<u64, Pages>,
    /// Regions in the order in which they were first asked for.
    order: VecDeque<u64>,
}

impl Demand {
    /// Takes note of rows in the order of the log that are wanted.
    pub fn note(&mut self, rows: &[Row]) {
        let (mut region, mut wanted) = (None, Pages::default());
        for page in rows.iter().map(pages).flat_map(|(first, last)| first..=last) {
            let (of, page) = (page / (REGION / PAGE), page % (REGION / PAGE));
            if region != Some(of) {
                self.add(region.replace(of), std::mem::take(&mut wanted));
            }
            if let Some(bits) = wanted.get_mut((page / 64) as usize) {
                *bits |= 1 << (page % 64);
            }
        }
        self.add(region, wanted);
    }

    /// Whether these rows, and all that others wanted there, are few: where half of it is wanted, reading all costs
    /// less.
    pub fn is_sparse(&self, rows: &[Row]) -> bool {
        let (mut wanted, mut regions, mut last) = (0, 0, None);
        for row in rows {
            let region = row.position / REGION;
            if last != Some(region) {
                (wanted, regions, last) = (wanted + self.expected(region), regions + 1, Some(region));
            }
        }
        wanted * PAGE < regions * REGION / 2
    }

    /// How many pages of a region are wanted, or will be.
    fn expected(&self, region: u64) -> u64 {
        let near = self.pages.range(region.saturating_sub(BEFORE)..=region);
        near.map(|(_, pages)| pages.iter().map(|bits| u64::from(bits.count_ones())).sum()).max().unwrap_or(0)
    }

    fn add(&mut self, region: Option<u64>, wanted: Pages) {
        let Some(region) = region else { return };
        let known = self.pages.entry(region).or_insert_with(|| {
            self.order.push_back(region);
            Pages::default()
        });
        known.iter_mut().zip(wanted).for_each(|(bits, more)| *bits |= more);
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.pages.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of 1 KB, so far from each other.
    fn rows(from: u64, gap: u64) -> Vec<Row> {
        let row = |i| Row { offset: i, position: from + i * gap, len: 1024, tag: 0, store_time: 0, crc: 1 };
        (0..32).map(row).collect()
    }

    /// Whether rows are sparse once they are asked for.
    fn sparse(demand: &mut Demand, rows: &[Row]) -> bool {
        demand.note(rows);
        demand.is_sparse(rows)
    }

    #[test]
    fn one_queue_of_many_is_read_by_parts_wherever_it_goes_on() {
        let mut demand = Demand::default();
        for pull in 0..1000 {
            let rows = rows(pull * 32 * 100_000, 100_000);
            assert!(!are_near(&rows) && sparse(&mut demand, &rows));
        }
    }

    #[test]
    fn a_queue_without_much_between_its_messages_is_read_whole() {
        assert!(are_near(&rows(7, 1024)));
        assert!(are_near(&rows(7, 9 * 1024)));
    }

    #[test]
    fn what_many_want_something_of_is_read_whole() {
        let mut demand = Demand::default();
        let all: Vec<bool> =
            (0..25).map(|queue| sparse(&mut demand, &rows(queue * PAGE, 25 * PAGE))).collect();
        let parts = all.iter().take_while(|sparse| **sparse).count();
        assert!((8..20).contains(&parts), "{parts}");
        assert!(all.iter().skip(parts).all(|sparse| !sparse));
    }

    #[test]
    fn what_one_wants_again_and_again_is_no_more_for_it() {
        let mut demand = Demand::default();
        assert!((0..100).all(|_| sparse(&mut demand, &rows(0, 100_000))));
    }

    #[test]
    fn where_many_go_on_the_first_of_them_reads_for_those_behind() {
        let mut demand = Demand::default();
        for pull in 0..100 {
            let front: Vec<bool> = (0..25)
                .map(|queue| sparse(&mut demand, &rows((pull * 32 * 25 + queue) * PAGE, 25 * PAGE)))
                .collect();
            assert!(pull == 0 || front.iter().all(|sparse| !sparse), "{pull}");
        }
        // One who comes alone, elsewhere, is not mistaken for them.
        assert!(sparse(&mut demand, &rows(1 << 40, 25 * PAGE)));
    }

    #[test]
    fn a_message_alone_is_read_by_itself_until_its_neighbours_are_wanted_too() {
        let mut demand = Demand::default();
        let one_by_one = (0..1000).map(|i| rows(i * 1024, 1024)[0]);
        let parts = one_by_one.take_while(|row| sparse(&mut demand, &[*row])).count();
        assert_eq!(parts, 508);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut demand = Demand::default();
        for region in 0..3 * KEPT as u64 {
            demand.note(&rows(region * REGION, 1024));
        }
        assert_eq!((demand.pages.len(), demand.order.len()), (KEPT, KEPT));
    }
}
