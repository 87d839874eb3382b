//! Questions to metadata: each by itself, so that none waits for another's answer, and only so many at once.

use std::future::Future;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

const AT_ONCE: usize = 64;

/// Asks each question that comes, until nobody asks any more.
pub async fn ask_each<Q, A>(mut questions: UnboundedReceiver<Q>, ask: impl Fn(Q) -> A)
where
    A: Future<Output = ()> + Send + 'static,
{
    let mut under_way = JoinSet::new();
    loop {
        let room = under_way.len() < AT_ONCE;
        tokio::select! {
            biased;
            _ = under_way.join_next(), if !under_way.is_empty() => {}
            question = questions.recv(), if room => {
                let Some(question) = question else { return };
                under_way.spawn(ask(question));
            }
        }
    }
}
