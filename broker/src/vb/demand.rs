//! Whether to read what lies between: by how much of each region of the log was asked for lately, by anybody.

use std::collections::{BTreeMap, VecDeque};

use crate::index::Row;

const REGION: u64 = 1 << 20;
/// What a disk reads at least.
const PAGE: u64 = 4096;
/// Regions that are remembered.
const KEPT: usize = 4096;

/// Rows, and how many pages each adds to those before it.
fn pages(rows: &[Row]) -> impl Iterator<Item = (&Row, u64)> {
    let mut next = 0;
    rows.iter().map(move |row| {
        let behind = (row.position + u64::from(row.len.max(1)) - 1) / PAGE + 1;
        let pages = behind.saturating_sub(next.max(row.position / PAGE));
        next = next.max(behind);
        (row, pages)
    })
}

/// Whether some rows are so close to each other that it is best to read what is between them along.
pub fn are_near(rows: &[Row]) -> bool {
    let [first, _, _, .., last] = rows else { return false };
    let span = (last.position + u64::from(last.len)).saturating_sub(first.position);
    pages(rows).map(|(_, pages)| pages).sum::<u64>() * PAGE >= span / 2
}

/// Pages that were asked for, by region.
#[derive(Default)]
pub struct Demand {
    pages: BTreeMap<u64, u64>,
    /// Regions in the order in which they were first asked for.
    order: VecDeque<u64>,
}

impl Demand {
    /// Takes note of rows in the order of the log that are about to be read. Whether they are few, with all that others
    /// wanted there: where half of it is wanted, reading all costs less.
    pub fn is_sparse(&mut self, rows: &[Row]) -> bool {
        let (mut wanted, mut regions) = (0, 0);
        let mut last = None;
        for (row, pages) in pages(rows) {
            let region = row.position / REGION;
            let known = self.note(region, pages);
            if last == Some(region) {
                wanted += pages;
            } else {
                (wanted, regions) = (wanted + known, regions + 1);
            }
            last = Some(region);
        }
        wanted * PAGE < regions * REGION / 2
    }

    fn note(&mut self, region: u64, more: u64) -> u64 {
        let pages = self.pages.entry(region).or_insert_with(|| {
            self.order.push_back(region);
            0
        });
        *pages += more;
        let known = *pages;
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.pages.remove(&oldest);
        }
        known
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

    #[test]
    fn one_queue_of_many_is_read_by_parts_wherever_it_goes_on() {
        let mut demand = Demand::default();
        for pull in 0..1000 {
            let rows = rows(pull * 32 * 100_000, 100_000);
            assert!(!are_near(&rows) && demand.is_sparse(&rows));
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
        let sparse: Vec<bool> = (0..40).map(|queue| demand.is_sparse(&rows(queue * 2048, 100_000))).collect();
        let parts = sparse.iter().take_while(|sparse| **sparse).count();
        assert!((8..20).contains(&parts), "{parts}");
        assert!(sparse.iter().skip(parts).all(|sparse| !sparse));
    }

    #[test]
    fn a_message_alone_is_read_by_itself_until_its_neighbours_are_wanted_too() {
        let mut demand = Demand::default();
        let one_by_one = (0..1000).map(|i| rows(i * 1024, 1024)[0]);
        let parts = one_by_one.take_while(|row| demand.is_sparse(&[*row])).count();
        assert!((100..200).contains(&parts), "{parts}");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut demand = Demand::default();
        for region in 0..3 * KEPT as u64 {
            demand.is_sparse(&rows(region * REGION, 1024));
        }
        assert_eq!((demand.pages.len(), demand.order.len()), (KEPT, KEPT));
    }
}
