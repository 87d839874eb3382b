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
        // Whoever fails to get the lock has put his requests into `waiting` before: the holder MUST look there after giving
        // it back, also when he found nothing.
        loop {
            let Some(submitting) = self.submitting.try_lock() else { return };
            let batch = std::mem::take(&mut *self.waiting.lock());
            if !batch.is_empty() {
                // A bookie that has too much to do refuses by itself: there is nobody here who could stop reading.
                gather(|| self.service.submit(batch));
            }
            drop(submitting);
            if self.waiting.lock().is_empty() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, ready};
    use std::pin::Pin;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::{Pressure, Replies, Reply};

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Service for Counting {
        fn submit(&self, batch: Vec<(Request, ReplyTo)>) -> Pressure {
            self.0.fetch_add(batch.len(), Ordering::Relaxed);
            Pressure::Room
        }

        fn room(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            Box::pin(ready(()))
        }
    }

    struct Deaf;

    impl Replies for Deaf {
        fn answer(&self, _token: u64, _reply: Reply) {}
    }

    #[test]
    fn what_many_send_at_once_all_arrives() {
        const EACH: usize = 100_000;
        let bookie: BookieId = "bookie:3181".parse().unwrap();
        let (local, service) = (Local::default(), Arc::new(Counting::default()));
        local.insert(bookie.clone(), service.clone());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for token in 0..EACH {
                        local.send(&bookie, Request::Info, ReplyTo::new(Arc::new(Deaf), token as u64));
                    }
                });
            }
        });
        assert_eq!(service.0.load(Ordering::Relaxed), 4 * EACH, "nobody is left to fetch the rest");
    }
}
