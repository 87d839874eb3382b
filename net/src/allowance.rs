//! What the receive buffer of one connection may hold, counted in the budget of all.

use crate::budget::Budget;
use crate::receive::{FIRST, Receive};

/// What a connection reads at a time while there is no memory for what it usually reads.
const LITTLE: usize = 8 * 1024;

/// Bytes of a receive buffer that are counted.
#[derive(Default)]
pub(crate) struct Allowance {
    charged: usize,
}

impl Allowance {
    /// Counts the room for the next read, a little at least: the more frames can be completed, the more is freed.
    /// `None`: all connections together hold too much.
    pub fn pay(&mut self, budget: &Budget, receive: &Receive) -> Option<usize> {
        let usual = receive.room();
        // What every connection may hold anyway is not asked for: small requests pass whatever else is going on.
        let free = FIRST.saturating_sub(receive.partial().len());
        let fits = |room: &usize| budget.try_take(room.saturating_sub(FIRST));
        let Some(room) = [usual, usual.min(LITTLE)].into_iter().find(fits) else {
            return (free > 0).then_some(free);
        };
        let more = room.saturating_sub(FIRST);
        budget.receiving(self.charged, self.charged + more);
        self.charged += more;
        budget.pass_on();
        Some(room)
    }

    /// Counts what the buffer holds now.
    pub fn settle(&mut self, budget: &Budget, receive: &Receive) {
        self.charge(budget, receive.held().saturating_sub(FIRST));
    }

    /// The buffer is gone.
    pub fn give_up(&mut self, budget: &Budget) {
        self.charge(budget, 0);
    }

    fn charge(&mut self, budget: &Budget, bytes: usize) {
        budget.receiving(self.charged, bytes);
        budget.take(bytes);
        budget.give(std::mem::replace(&mut self.charged, bytes));
    }
}
