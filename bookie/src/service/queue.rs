//! Work for a lane: many push, one or a few take. The taker sleeps until there is some.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

pub struct Queue<T> {
    state: Mutex<State<T>>,
    arrived: Notify,
}

struct State<T> {
    items: VecDeque<T>,
    closed: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        let state = State { items: VecDeque::new(), closed: false };
        Queue { state: Mutex::new(state), arrived: Notify::new() }
    }
}

impl<T> Queue<T> {
    /// Appends all, in order; on a closed queue they are dropped.
    pub fn push(&self, items: impl IntoIterator<Item = T>) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        let was = state.items.len();
        state.items.extend(items);
        let wake = was == 0 && !state.items.is_empty();
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
    }

    /// Appends all without waking anybody: [`Queue::ring`] MUST follow, or [`Queue::take_if`].
    pub fn push_silently(&self, items: impl IntoIterator<Item = T>) {
        let mut state = self.state.lock();
        if !state.closed {
            state.items.extend(items);
        }
    }

    pub fn ring(&self) {
        self.arrived.notify_one();
    }

    /// Waits until there is something; false once the queue is closed.
    pub async fn arrived(&self) -> bool {
        self.with_some(|_| ()).await.is_some()
    }

    /// Takes all there is, if there is anything and `wanted` agrees.
    pub fn take_if(&self, wanted: impl FnOnce(&VecDeque<T>) -> bool) -> Option<VecDeque<T>> {
        let mut state = self.state.lock();
        (!state.items.is_empty() && wanted(&state.items)).then(|| std::mem::take(&mut state.items))
    }

    pub fn len(&self) -> usize {
        self.state.lock().items.len()
    }

    /// Takes up to `most`, waiting for the first; `None` once the queue is closed. Several may wait: what is left wakes
    /// the next.
    pub async fn take(&self, most: usize) -> Option<VecDeque<T>> {
        let first = |items: &mut VecDeque<T>| {
            let rest = items.split_off(most.min(items.len()));
            if !rest.is_empty() {
                self.arrived.notify_one();
            }
            std::mem::replace(items, rest)
        };
        self.with_some(first).await
    }

    /// Waits until there is something, and does this with it; `None` once the queue is closed.
    async fn with_some<R>(&self, act: impl FnOnce(&mut VecDeque<T>) -> R) -> Option<R> {
        loop {
            let arrived = self.arrived.notified();
            {
                let mut state = self.state.lock();
                if state.closed {
                    self.arrived.notify_one();
                    return None;
                }
                if !state.items.is_empty() {
                    return Some(act(&mut state.items));
                }
            }
            arrived.await;
        }
    }

    /// Drops what waits, and everything that comes.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let dropped = std::mem::take(&mut state.items);
        drop(state);
        drop(dropped);
        self.arrived.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn two_takers_share_what_is_pushed_at_once() {
        let queue = Arc::new(Queue::default());
        let take = |queue: Arc<Queue<u8>>| tokio::spawn(async move { queue.take(1).await });
        let (one, two) = (take(queue.clone()), take(queue.clone()));
        tokio::time::sleep(Duration::from_millis(1)).await;
        queue.push([1, 2]);
        let both = [one.await.ok().flatten(), two.await.ok().flatten()];
        assert_eq!(both.into_iter().flatten().flatten().sum::<u8>(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_queue_wakes_all_takers() {
        let queue: Arc<Queue<u8>> = Arc::default();
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.take(9).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(1)).await;
        queue.close();
        for taker in waiting {
            assert_eq!(taker.await.ok().flatten(), None);
        }
        queue.push([1]);
        assert_eq!(queue.len(), 0);
    }
}
