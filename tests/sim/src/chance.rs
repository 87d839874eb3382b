//! All randomness of a run, from its seed.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};

/// A source of random choices. A clone goes on in the same sequence; a fork has its own, so that a change in one
/// part of the world does not shift the choices of another.
#[derive(Clone)]
pub struct Chance(Arc<Mutex<SmallRng>>);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(Arc::new(Mutex::new(SmallRng::seed_from_u64(seed))))
    }

    pub fn fork(&self) -> Chance {
        Chance::new(self.number())
    }

    pub fn number(&self) -> u64 {
        self.0.lock().next_u64()
    }

    pub fn hits(&self, probability: f64) -> bool {
        probability > 0.0 && self.0.lock().random_bool(probability.min(1.0))
    }

    /// A number in the range; its start if it is empty.
    pub fn within(&self, range: Range<u64>) -> u64 {
        if range.is_empty() { range.start } else { self.0.lock().random_range(range) }
    }

    pub fn index(&self, len: usize) -> usize {
        self.within(0..len as u64) as usize
    }

    pub fn millis(&self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }

    pub fn micros(&self, range: Range<u64>) -> Duration {
        Duration::from_micros(self.within(range))
    }

    pub fn pick<'a, T>(&self, among: &'a [T]) -> Option<&'a T> {
        among.get(self.index(among.len()))
    }

    /// One of a fixed, non-empty choice.
    pub fn one_of<T: Copy, const N: usize>(&self, among: [T; N]) -> T {
        among[self.index(N)]
    }

    pub fn shuffle<T>(&self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.index(i + 1));
        }
    }
}
