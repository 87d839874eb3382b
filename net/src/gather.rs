//! Waking once for many replies.
//!
//! Who answers many duties at once (a bookie whose group is synced) or sends many requests does so inside [`gather`]:
//! receivers are woken, and sockets written to, once when it ends. Outside of it each is woken at once.

use std::cell::RefCell;
use std::sync::Arc;

/// One who has something new to look at.
pub trait Wake: Send + Sync + 'static {
    /// MUST NOT block. Runs on the thread that answered or sent; may answer and send itself.
    fn wake(self: Arc<Self>);
}

thread_local! {
    static WAITING: RefCell<Option<Vec<Arc<dyn Wake>>>> = const { RefCell::new(None) };
}

/// Runs `f`; whoever is to be woken meanwhile ([`wake_later`]) is woken at its end, on this thread. Within another
/// `gather` it does nothing: the outermost one counts.
pub fn gather<R>(f: impl FnOnce() -> R) -> R {
    let outermost = WAITING.with_borrow_mut(|waiting| {
        let outermost = waiting.is_none();
        if outermost {
            *waiting = Some(Vec::new());
        }
        outermost
    });
    let _end = outermost.then(|| End);
    f()
}

/// Wakes at the end of the [`gather`] that is under way on this thread, or at once. A caller that is already waiting
/// to be woken need not, and should not, call this again.
pub fn wake_later(who: &Arc<impl Wake>) {
    if !wake_at_end(who) {
        who.clone().wake();
    }
}

/// As [`wake_later`], but does nothing, and returns false, if no [`gather`] is under way on this thread.
pub(crate) fn wake_at_end(who: &Arc<impl Wake>) -> bool {
    WAITING.with_borrow_mut(|waiting| {
        let Some(waiting) = waiting else { return false };
        waiting.push(who.clone());
        true
    })
}

/// Ends the outermost gather, also when what it ran panics. Those who are woken may answer and send again: that is
/// gathered into another round.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        loop {
            let round = WAITING.with_borrow_mut(|waiting| match waiting {
                Some(round) if !round.is_empty() => std::mem::take(round),
                _ => {
                    *waiting = None;
                    Vec::new()
                }
            });
            if round.is_empty() {
                return;
            }
            round.into_iter().for_each(Wake::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Wakes another when woken.
    struct Chain(Arc<Count>);

    impl Wake for Chain {
        fn wake(self: Arc<Self>) {
            wake_later(&self.0);
        }
    }

    #[test]
    fn wakes_happen_at_once_outside_and_at_the_end_inside() {
        let count = Arc::new(Count::default());
        let seen = || count.0.load(Ordering::Relaxed);
        wake_later(&count);
        assert_eq!(seen(), 1);
        gather(|| {
            gather(|| wake_later(&count));
            assert_eq!(seen(), 1);
        });
        assert_eq!(seen(), 2);
    }

    #[test]
    fn those_who_are_woken_may_wake_others() {
        let count = Arc::new(Count::default());
        gather(|| wake_later(&Arc::new(Chain(count.clone()))));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        wake_later(&count);
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }
}
