//! Reads that would wait for a disk: a lane of their own, so that they slow neither writers nor tail readers.

use std::collections::VecDeque;
use std::sync::Arc;

use net::gather;
use protocol::bookie::{Refusal, Request};

use super::duty::Held;
use super::queue::Queue;
use crate::Duty;
use crate::shelf::Reader;

/// Bounded: what does not fit is told that there is too much to do.
pub struct ReadQueue {
    waiting: Queue<(Request, Held)>,
    most: usize,
}

impl ReadQueue {
    pub fn new(most: usize) -> Arc<ReadQueue> {
        Arc::new(ReadQueue { waiting: Queue::default(), most: most.max(64) })
    }

    pub fn push(&self, request: Request, held: Held) {
        if self.waiting.len() >= self.most {
            return held.answer(Err(Refusal::TooManyRequests));
        }
        self.waiting.push([(request, held)]);
    }

    pub fn close(&self) {
        self.waiting.close();
    }

    /// Serves until the queue is closed. Several may serve one queue.
    pub async fn serve(self: Arc<ReadQueue>, reader: Reader) {
        while let Some(taken) = self.waiting.take(AT_ONCE).await {
            gather(|| answer_all(taken, &reader));
        }
    }
}

/// Few, so that readers beside this one find some.
const AT_ONCE: usize = 4;

fn answer_all(taken: VecDeque<(Request, Held)>, reader: &Reader) {
    for (request, held) in taken {
        held.answer(reader.serve(&request));
    }
}
