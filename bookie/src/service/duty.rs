//! The duty to answer one request, with what it holds while it waits.

use std::sync::Arc;

use net::{Failure, ReplyTo};
use protocol::bookie::{Answer, Outcome, Refusal};
use tokio::time::Instant;

use super::budget::Budget;
use crate::Duty;

/// Dropped unanswered, its asker is told that nothing is known of the request's effect.
pub struct Held {
    reply: Option<ReplyTo>,
    budget: Arc<Budget>,
    /// Whose share of the budget it takes.
    shelf: usize,
    cost: u32,
    since: Instant,
}

impl Held {
    pub fn new(reply: ReplyTo, budget: Arc<Budget>, (shelf, cost): (usize, u32), since: Instant) -> Held {
        Held { reply: Some(reply), budget, shelf, cost, since }
    }

    /// What it takes of the budget.
    pub fn cost(&self) -> u32 {
        self.cost
    }

    fn count(&self, outcome: &Outcome) {
        let metrics = &self.budget.metrics;
        let read = |bytes: usize| {
            metrics.reads.add(1);
            metrics.read_bytes.add(bytes as u64);
            metrics.read_time.record_time(self.since.elapsed());
        };
        match outcome {
            Ok(Answer::Added) => {
                metrics.adds.add(1);
                metrics.add_time.record_time(self.since.elapsed());
            }
            Ok(Answer::Entry { body, .. }) | Ok(Answer::Range(body)) => read(body.len()),
            Ok(Answer::Entries(bodies)) => read(bodies.iter().map(|body| body.len()).sum()),
            Ok(_) => {}
            Err(Refusal::NoLedger | Refusal::NoEntry) => metrics.reads_missing.add(1),
            Err(Refusal::Unknown) => metrics.answers_unknown.add(1),
            Err(Refusal::TooManyRequests) => metrics.pushed_back.add(1),
            Err(Refusal::Fenced | Refusal::ReadOnly) => metrics.adds_refused.add(1),
            Err(_) => metrics.others_refused.add(1),
        }
    }
}

impl Duty for Held {
    fn answer(mut self, outcome: Outcome) {
        self.count(&outcome);
        if let Some(reply) = self.reply.take() {
            reply.answer(outcome.map_err(Failure::Refused));
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.give_back(self.shelf, self.cost);
    }
}
