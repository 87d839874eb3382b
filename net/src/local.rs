//! Bookies of the same process: no sockets, no encoding, payloads by reference.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use protocol::BookieId;
use protocol::bookie::Request;

use crate::gather::{Wake, gather, wake_later};
use crate::{Bookies, Failure, ReplyTo, Service};

/// Bookies by name. How long an answer may take is the bookie's affair: nothing can be lost on the way.
#[derive(Default)]
pub struct Local {
    bookies: RwLock<HashMap<BookieId, Arc<Door>>>,
}

/// One bookie, and what is to be submitted at the end of the sender's [`gather`].
struct Door {
    service: Arc<dyn Service>,
    waiting: Mutex<Vec<(Request, ReplyTo)>>,
    /// Held while submitting: one batch after another, in the order of sending.
    submitting: Mutex<()>,
}

impl Local {
    /// Makes a bookie known; one of the same name is replaced.
    pub fn insert(&self, bookie: BookieId, service: Arc<dyn Service>) {
        self.bookies.write().insert(
            bookie,
            Arc::new(Door { service, waiting: Mutex::default(), submitting: Mutex::default() }),
        );
    }

    /// Requests to a removed bookie fail.
    pub fn remove(&self, bookie: &BookieId) {
        self.bookies.write().remove(bookie);
    }
}

impl Bookies for Local {
    fn send(&self, bookie: &BookieId, request: Request, reply: ReplyTo) {
        let door = self.bookies.read().get(bookie).cloned();
        let Some(door) = door else { return reply.answer(Err(Failure::Unreachable)) };
        let mut waiting = door.waiting.lock();
        waiting.push((request, reply));
        let first = waiting.len() == 1;
        drop(waiting);
        if first {
            wake_later(&door);
        }
    }
}

impl Wake for Door {
    fn wake(self: Arc<Self>) {
        // Whoever fails to get the lock has put his requests into `waiting` before; the holder looks there again after
        // giving it back.
        while let Some(submitting) = self.submitting.try_lock() {
            let batch = std::mem::take(&mut *self.waiting.lock());
            if batch.is_empty() {
                return;
            }
            // A bookie that has too much to do refuses by itself: there is nobody here who could stop reading.
            gather(|| self.service.submit(batch));
            drop(submitting);
        }
    }
}
