//! A watch tells every change once and in order, or says that it lost some.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::{Subject, done};
use crate::store::{Change, Watch};
use crate::{Error, Revision, Store, Txn};

const SOON: Duration = Duration::from_secs(20);

pub async fn run(subject: &Subject) -> Result<(), Error> {
    a_watch_tells_what_came_after(subject).await?;
    a_watch_tells_the_end_of_a_lease(subject).await?;
    a_watch_keeps_up_with_writers(&subject.store).await?;
    a_watch_from_before_a_compaction_is_lost(subject).await
}

async fn next(watch: &mut Box<dyn Watch>) -> Change {
    timeout(SOON, watch.next()).await.expect("the watch says something")
}

async fn nothing_more(watch: &mut Box<dyn Watch>) {
    let more = timeout(Duration::from_millis(200), watch.next()).await;
    assert!(more.is_err(), "told too much: {more:?}");
}

/// Key and value of a put, key of a deletion.
fn told(change: Change) -> (String, Option<String>, Revision) {
    match change {
        Change::Put(entry) => {
            (entry.key, Some(String::from_utf8_lossy(&entry.value).into_owned()), entry.modified)
        }
        Change::Deleted { key, at } => (key, None, at),
        Change::Lost => panic!("the watch lost something"),
    }
}

async fn a_watch_tells_what_came_after(subject: &Subject) -> Result<(), Error> {
    let store = &subject.store;
    let [a, b] = ["/suite/watch/a", "/suite/watch/b"];
    let before = done(store, Txn::default().put(a, "0")).await?;
    let first = done(store, Txn::default().put(a, "1").put("/suite/watched", "no")).await?;
    // From a revision in the past: what came since is told, too.
    let mut watch = store.watch("/suite/watch/", before).await?;
    assert_eq!(told(next(&mut watch).await), (a.into(), Some("1".into()), first));
    let second = done(store, Txn::default().delete(a).put(b, "2")).await?;
    let mut both = [told(next(&mut watch).await), told(next(&mut watch).await)];
    both.sort();
    assert_eq!(both, [(a.into(), None, second), (b.into(), Some("2".into()), second)]);
    nothing_more(&mut watch).await;
    // A wait that was given up loses nothing.
    done(store, Txn::default().delete(b)).await?;
    assert_eq!(told(next(&mut watch).await).0, b);
    Ok(())
}

async fn a_watch_tells_the_end_of_a_lease(subject: &Subject) -> Result<(), Error> {
    let store = &subject.store;
    let key = "/suite/watch/leased";
    let lease = store.grant(subject.ttl).await?;
    let at = done(store, Txn::default().put_leased(key, "", lease)).await?;
    let mut watch = store.watch(key, at).await?;
    match timeout(subject.ttl + subject.late, watch.next()).await {
        Ok(Change::Deleted { key: gone, .. }) => assert_eq!(gone, key),
        other => panic!("{other:?} instead of the end of a lease"),
    }
    Ok(())
}

async fn a_watch_keeps_up_with_writers(store: &Arc<dyn Store>) -> Result<(), Error> {
    const TASKS: usize = 4;
    const TIMES: usize = 50;
    let from = store.range("/suite/many-watched/", None, 1).await?.revision;
    let mut watch = store.watch("/suite/many-watched/", from).await?;
    let write = |store: Arc<dyn Store>, task: usize| async move {
        for n in 0..TIMES {
            done(&store, Txn::default().put(format!("/suite/many-watched/{task}"), n.to_string())).await?;
        }
        Ok::<(), Error>(())
    };
    let tasks: Vec<_> = (0..TASKS).map(|task| tokio::spawn(write(store.clone(), task))).collect();
    let mut counts = [0; TASKS];
    let mut last = from;
    for _ in 0..TASKS * TIMES {
        let (key, value, at) = told(next(&mut watch).await);
        assert!(at > last, "{at:?} after {last:?}");
        last = at;
        let task: usize = key.rsplit('/').next().and_then(|task| task.parse().ok()).unwrap_or(0);
        assert_eq!(value, Some(counts[task].to_string()), "of task {task}");
        counts[task] += 1;
    }
    for task in tasks {
        task.await.expect("a task of the suite ends")?;
    }
    nothing_more(&mut watch).await;
    Ok(())
}

async fn a_watch_from_before_a_compaction_is_lost(subject: &Subject) -> Result<(), Error> {
    let store = &subject.store;
    let old = done(store, Txn::default().put("/suite/compact/a", "1")).await?;
    for n in 0..5 {
        done(store, Txn::default().put("/suite/compact/a", n.to_string())).await?;
    }
    (subject.compact)().await;
    let mut watch = store.watch("/suite/compact/", old).await?;
    assert_eq!(next(&mut watch).await, Change::Lost);
    assert_eq!(next(&mut watch).await, Change::Lost, "for ever");
    // Read again, and watch from there.
    let page = store.range("/suite/compact/", None, 10).await?;
    assert_eq!(page.entries.len(), 1);
    let mut watch = store.watch("/suite/compact/", page.revision).await?;
    let at = done(store, Txn::default().put("/suite/compact/a", "new")).await?;
    assert_eq!(told(next(&mut watch).await), ("/suite/compact/a".into(), Some("new".into()), at));
    Ok(())
}
