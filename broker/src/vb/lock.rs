//! The core's lock. A thread that takes it twice would wait for itself for ever, and with it everybody who wants this
//! virtual broker; two calls in one statement are enough. So that is found at once, by whoever runs it first.

use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::lock_api::GetThreadId;
use parking_lot::{Mutex, MutexGuard, RawThreadId};

use super::Core;

pub struct CoreLock {
    core: Mutex<Core>,
    /// The thread that has it; 0: nobody.
    holder: AtomicUsize,
}

/// The core, for a moment.
pub struct CoreGuard<'a> {
    core: MutexGuard<'a, Core>,
    holder: &'a AtomicUsize,
}

impl CoreLock {
    pub fn new(core: Core) -> CoreLock {
        CoreLock { core: Mutex::new(core), holder: AtomicUsize::new(0) }
    }

    /// Waits for other threads. Panics if this thread has the lock already: to go on is impossible.
    #[track_caller]
    pub fn lock(&self) -> CoreGuard<'_> {
        let me = RawThreadId::INIT.nonzero_thread_id().get();
        // Only this thread itself can have written its own number.
        if self.holder.load(Relaxed) == me {
            taken_twice(Location::caller());
        }
        let core = self.core.lock();
        self.holder.store(me, Relaxed);
        CoreGuard { core, holder: &self.holder }
    }
}

#[cold]
fn taken_twice(caller: &Location<'_>) -> ! {
    panic!("{caller} locks a virtual broker's core that its own thread has locked already");
}

impl Deref for CoreGuard<'_> {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.core
    }
}

impl DerefMut for CoreGuard<'_> {
    fn deref_mut(&mut self) -> &mut Core {
        &mut self.core
    }
}

impl Drop for CoreGuard<'_> {
    fn drop(&mut self) {
        self.holder.store(0, Relaxed);
    }
}
