//! Repair on a real (embedded) metadata store and model bookies, in simulated time.

use std::collections::BTreeSet;
use std::sync::Arc;

use disk::simulated::Device;
use metadata::embedded::{Embedded, Sizes};
use metadata::schema::{Cookie, Damage, LedgerTask, Origin, TaskReason, check_transition};
use metadata::store::Change;
use metadata::{LedgerMetadata, Ledgers, Revision, Scope, State, Store, Stored, Txn, registry};
use protocol::bookie::{Refusal, Request};
use protocol::entry::{Digest, Header};
use protocol::{BookieId, EntryId};
use tokio::time::{Instant, sleep};

use super::*;
use crate::model::{ModelBookies, Mood, bookie, open_metadata};
use crate::quorum::Quorums;

struct World {
    store: Arc<Embedded>,
    bookies: ModelBookies,
    cluster: Cluster,
}

const SECOND: Duration = Duration::from_secs(1);

fn settings() -> Settings {
    Settings { name: "tester".into(), grace: SECOND * 60, ..Settings::default() }
}

impl World {
    async fn new(count: usize) -> World {
        let store = Embedded::open(Device::new(1, 256 << 20).mount(), Sizes::default()).expect("it opens");
        let bookies = ModelBookies::new(count, 1);
        let scope = Scope::new("/repair").expect("a scope");
        let ledgers = Ledgers::new(store.clone(), scope, 1);
        let cluster = Cluster::new(Arc::new(bookies.clone()), ledgers, 1);
        let world = World { store, bookies, cluster };
        for n in 0..count {
            let cookie = Cookie {
                bookie: bookie(n),
                journal_dirs: "/d".into(),
                ledger_dirs: vec!["/d".into()],
                index_dirs: None,
                instance_id: "i".into(),
            };
            registry::write_cookie(&*world.store, world.scope(), &cookie, None).await.expect("a cookie");
            world.start(n).await;
        }
        world
    }

    fn scope(&self) -> &Scope {
        self.cluster.ledgers.scope()
    }

    async fn change(&self, txn: Txn) {
        self.store.txn(txn).await.expect("the store works");
    }

    async fn start(&self, n: usize) {
        self.bookies.set(n, Mood::Well);
        self.change(Txn::default().put(self.scope().writable(&bookie(n)), "")).await;
    }

    async fn stop(&self, n: usize) {
        self.bookies.set(n, Mood::Down);
        self.change(Txn::default().delete(self.scope().writable(&bookie(n)))).await;
    }

    /// A closed ledger with an entry per place that should have one.
    async fn closed(&self, e: u32, w: u32, members: &[usize], entries: i64) -> Stored {
        self.ledger(e, w, members, entries, |metadata| {
            metadata.state = State::Closed { last: EntryId(entries - 1), length: entries * 10 };
        })
        .await
    }

    async fn ledger(
        &self,
        e: u32,
        w: u32,
        members: &[usize],
        entries: i64,
        change: impl Fn(&mut LedgerMetadata),
    ) -> Stored {
        let quorums = Quorums::new(e, w, (w - 1).max(1)).expect("good quorums");
        let open = open_metadata(quorums, members.iter().map(|n| bookie(*n)).collect());
        let stored = self.cluster.ledgers.create(open).await.expect("creates");
        let digest = Digest::new(stored.metadata.digest, &stored.metadata.password);
        for entry in (0..entries).map(EntryId) {
            let header =
                Header { ledger: stored.id, entry, lac: EntryId(entry.0 - 1), length: (entry.0 + 1) * 10 };
            let body = digest.encode(&header, format!("{:010}", entry.0).as_bytes());
            for index in quorums.write_set(entry) {
                self.bookies.put(members[index], stored.id, entry, body.clone());
            }
        }
        let mut metadata = stored.metadata.clone();
        change(&mut metadata);
        if metadata == stored.metadata {
            return stored;
        }
        let swapped = self.cluster.ledgers.replace(stored.id, stored.version, metadata).await;
        match swapped.expect("the store works") {
            metadata::ledgers::Swapped::Done(stored) => stored,
            other => panic!("{other:?}"),
        }
    }

    async fn read(&self, ledger: &Stored) -> Stored {
        self.cluster.stored(ledger.id).await.expect("it is there")
    }

    async fn names(&self, ledger: &Stored, n: usize) -> bool {
        self.read(ledger).await.metadata.names(&bookie(n))
    }

    /// Every entry is at every place that metadata names.
    async fn assert_whole(&self, ledger: &Stored) {
        let stored = self.read(ledger).await;
        let checked =
            check_ledger(&self.cluster, &Pace::new(1 << 40), &stored, 100).await.expect("it checks");
        assert_eq!((checked.damage, checked.silent.len()), (vec![], 0), "{:?}", stored.metadata);
    }

    async fn status(&self) -> Status {
        status(&*self.store, self.scope()).await.expect("a status")
    }

    /// Waits until nothing is filed.
    async fn repaired(&self) -> Duration {
        let start = Instant::now();
        loop {
            sleep(SECOND).await;
            if self.status().await.tasks.is_empty() {
                return start.elapsed();
            }
            assert!(start.elapsed() < SECOND * 600, "{:?}", self.status().await);
        }
    }

    /// All that was ever done to ledgers was legal.
    async fn assert_legal(&self) {
        let mut watch = self.store.watch(&self.scope().key("ledgers/"), Revision(0)).await.expect("a watch");
        let mut seen = std::collections::BTreeMap::new();
        while let Ok(change) = tokio::time::timeout(SECOND, watch.next()).await {
            let (key, value) = match change {
                Change::Put(entry) => (entry.key, Some(entry.value)),
                Change::Deleted { key, .. } => (key, None),
                Change::Lost => panic!("the history is too short for this test"),
            };
            let id = self.scope().ledger_of(&key).expect("a ledger");
            let new = value.map(|value| LedgerMetadata::decode(id, &value).expect("it is read"));
            assert_eq!(check_transition(seen.get(&id), new.as_ref()), Ok(()));
            match new {
                Some(new) => seen.insert(id, new),
                None => seen.remove(&id),
            };
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_bookie_is_replaced_after_the_grace_and_not_before() {
    let world = World::new(5).await;
    let ledgers = [world.closed(3, 2, &[0, 1, 2], 100).await, world.closed(3, 3, &[2, 1, 3], 7).await];
    let other = world.closed(2, 2, &[0, 3], 10).await;
    let running = run_autorecovery(&world.cluster, &settings());
    sleep(SECOND * 10).await;
    world.stop(2).await;
    sleep(SECOND * 50).await;
    assert_eq!(world.status().await.tasks, []);
    sleep(SECOND * 30).await;
    world.repaired().await;
    for ledger in &ledgers {
        assert!(!world.names(ledger, 2).await);
        world.assert_whole(ledger).await;
    }
    assert_eq!(world.read(&other).await, other, "what had lost nothing is not touched");
    assert_eq!(world.status().await.auditor, Some("tester".into()));
    world.assert_legal().await;
    drop(running);
}

#[tokio::test(start_paused = true)]
async fn a_rolling_restart_copies_nothing() {
    let world = World::new(5).await;
    let ledger = world.closed(4, 3, &[0, 1, 2, 3], 50).await;
    let _running = run_autorecovery(&world.cluster, &settings());
    world.bookies.watch();
    for n in 0..5 {
        world.stop(n).await;
        sleep(SECOND * 50).await;
        world.start(n).await;
        sleep(SECOND * 20).await;
    }
    assert_eq!(world.bookies.sent(), []);
    assert_eq!(world.read(&ledger).await, ledger);
}

#[tokio::test(start_paused = true)]
async fn a_drained_bookie_is_a_source_until_it_is_empty() {
    let world = World::new(3).await;
    // The only copy there is.
    let single = world.closed(1, 1, &[0], 200).await;
    let empty = world.closed(2, 2, &[0, 1], 0).await;
    let _running = run_autorecovery(&world.cluster, &settings());
    drain(&*world.store, world.scope(), &bookie(0)).await.expect("it drains");
    sleep(SECOND * 20).await;
    world.repaired().await;
    assert!(remaining(&world.cluster, &bookie(0)).await.expect("a list").is_none());
    for ledger in [&single, &empty] {
        assert!(!world.names(ledger, 0).await);
        world.assert_whole(ledger).await;
    }
    undrain(&*world.store, world.scope(), &bookie(0)).await.expect("it stops");
    let nobody = drain(&*world.store, world.scope(), &bookie(9)).await.map_err(|error| error.to_string());
    assert!(matches!(&nobody, Err(text) if text.contains("there is no bookie b9:3181")), "{nobody:?}");
    world.assert_legal().await;
}

#[tokio::test(start_paused = true)]
async fn an_open_ledger_is_listed_and_left_alone() {
    let world = World::new(5).await;
    let link = |metadata: &mut LedgerMetadata| {
        metadata.custom = Origin { vb: "log-1".into(), kind: "log".into(), epoch: 1 }.to_custom();
    };
    let foreign = world.ledger(3, 3, &[0, 1, 2], 10, |_| {}).await;
    let head = {
        let quorums = Quorums::new(3, 3, 2).expect("good quorums");
        let mut metadata = open_metadata(quorums, vec![bookie(0), bookie(1), bookie(2)]);
        link(&mut metadata);
        world.cluster.ledgers.create(metadata).await.expect("creates")
    };
    let running = run_autorecovery(&world.cluster, &settings());
    world.stop(0).await;
    sleep(SECOND * 80).await;
    let status = world.status().await;
    let listed: Vec<_> = status.at_risk.iter().map(|at| (at.ledger, at.risk.log.as_str())).collect();
    let mut expected = vec![(foreign.id, ""), (head.id, "log-1")];
    expected.sort();
    assert_eq!(listed, expected);
    assert_eq!(status.tasks, []);
    assert_eq!((world.read(&foreign).await, world.read(&head).await), (foreign.clone(), head.clone()));

    // With the setting that is off, a foreign one is recovered; a link is not even then.
    drop(running);
    let closing = Settings { closes_open_ledgers: true, ..settings() };
    let _running = run_autorecovery(&world.cluster, &closing);
    sleep(SECOND * 120).await;
    world.repaired().await;
    assert!(world.read(&foreign).await.metadata.is_closed());
    world.assert_whole(&foreign).await;
    assert_eq!(world.read(&head).await, head);
    assert_eq!(world.status().await.at_risk.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_cannot_be_repaired_is_set_aside_and_delays_no_other() {
    let world = World::new(6).await;
    let hopeless = world.closed(2, 2, &[0, 1], 10).await;
    let deleted = world.closed(2, 2, &[0, 2], 10).await;
    let fine = world.closed(2, 2, &[0, 3], 10).await;
    for entry in 4..6 {
        world.bookies.forget(1, hopeless.id, EntryId(entry));
    }
    let damage = [Damage { bookie: bookie(0).to_string(), reason: TaskReason::Lost, lacks: vec![] }];
    for ledger in [&deleted, &fine] {
        file(&*world.store, world.scope(), ledger.id, &damage).await.expect("it is filed");
    }
    world.cluster.ledgers.delete(deleted.id, None).await.expect("it is deleted");
    world.stop(0).await;
    let settings = Settings { attempts: 3, ..settings() };
    let _running = run_autorecovery(&world.cluster, &settings);
    sleep(SECOND * 240).await;
    let status = world.status().await;
    let quarantined: Vec<_> = status.quarantined().map(|task| task.ledger).collect();
    assert_eq!((quarantined, status.tasks.len()), (vec![hopeless.id], 1), "{status:?}");
    assert!(status.tasks[0].task.last_error.contains("entry 4 of ledger"), "{status:?}");
    assert!(!world.names(&fine, 0).await);
    world.assert_whole(&fine).await;
    let left = remaining(&world.cluster, &bookie(0)).await.expect("a list");
    assert_eq!((left.closed, left.quarantined.len()), (vec![hopeless.id], 1));
    // The lost bookie comes back with its disk: the next audit gives the ledger another chance.
    world.start(0).await;
    sleep(SECOND * 30).await;
    world.repaired().await;
    assert!(world.names(&hopeless, 0).await, "it came back and keeps its place");
}

#[tokio::test(start_paused = true)]
async fn repair_waits_for_a_bookie_to_copy_to() {
    let world = World::new(3).await;
    let ledger = world.closed(3, 2, &[0, 1, 2], 30).await;
    world.stop(2).await;
    let running = Settings { attempts: 2, ..settings() };
    let _running = run_autorecovery(&world.cluster, &running);
    sleep(SECOND * 300).await;
    let status = world.status().await;
    assert_eq!((status.tasks.len(), status.quarantined().count()), (1, 0));
    assert!(status.tasks[0].task.last_error.contains("start or add one"), "{status:?}");
    // The model knows of three bookies only: the lost one is given up, and another disk takes its name.
    world.start(2).await;
    world.repaired().await;
    world.assert_whole(&ledger).await;
}

#[tokio::test(start_paused = true)]
async fn missing_and_damaged_entries_are_found_and_written_again() {
    let world = World::new(3).await;
    let ledger = world.closed(3, 2, &[0, 1, 2], 100).await;
    world.bookies.forget(0, ledger.id, EntryId(51));
    world.bookies.forget(1, ledger.id, EntryId(0));
    world.bookies.damage(2, ledger.id, EntryId(70));
    let settings = Settings { check_every: SECOND * 100, checked_percent: 100, ..settings() };
    let _running = run_autorecovery(&world.cluster, &settings);
    sleep(SECOND * 110).await;
    world.repaired().await;
    world.assert_whole(&ledger).await;
    assert_eq!(world.read(&ledger).await, ledger);
    // A writer that knows what a bookie lacks files it.
    world.bookies.forget(1, ledger.id, EntryId(3));
    let task = LedgerTask::of(&bookie(1), TaskReason::Missing, vec![(2, 5)]);
    world.change(Txn::default().put(world.scope().replication_task(ledger.id), task.encode())).await;
    world.repaired().await;
    world.assert_whole(&ledger).await;
}

#[tokio::test(start_paused = true)]
async fn a_bookie_is_decommissioned_at_once_and_forgotten_at_the_end() {
    let world = World::new(5).await;
    let ledger = world.closed(3, 3, &[0, 1, 2], 20).await;
    let _running = run_autorecovery(&world.cluster, &settings());
    let (store, scope) = (&*world.store, world.scope());
    let told = decommission(store, scope, &bookie(0)).await.map_err(|error| error.to_string());
    assert!(matches!(&told, Err(text) if text.contains("stop it first")), "{told:?}");
    world.stop(0).await;
    replace(store, scope, &bookie(0), &bookie(4)).await.expect("it is given up");
    let told = finish_decommission(&world.cluster, &bookie(0)).await.map_err(|error| error.to_string());
    assert!(matches!(&told, Err(text) if text.contains(&ledger.id.to_string())), "{told:?}");
    sleep(SECOND * 15).await;
    world.repaired().await;
    let ensemble = vec![bookie(4), bookie(1), bookie(2)];
    assert_eq!(world.read(&ledger).await.metadata.segments[0].ensemble, ensemble);
    world.assert_whole(&ledger).await;
    finish_decommission(&world.cluster, &bookie(0)).await.expect("it is forgotten");
    let known: BTreeSet<BookieId> =
        world.cluster.registered().await.expect("a list").into_iter().map(|info| info.id).collect();
    assert!(!known.contains(&bookie(0)));
    assert_eq!(world.status().await.gone, []);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_while_repair_is_paused() {
    let world = World::new(4).await;
    let ledger = world.closed(2, 2, &[0, 1], 20).await;
    pause(&*world.store, world.scope(), true).await.expect("it pauses");
    world.stop(0).await;
    let _running = run_autorecovery(&world.cluster, &settings());
    sleep(SECOND * 200).await;
    assert!(world.names(&ledger, 0).await);
    assert!(world.status().await.paused);
    pause(&*world.store, world.scope(), false).await.expect("it goes on");
    sleep(SECOND * 30).await;
    world.repaired().await;
    assert!(!world.names(&ledger, 0).await);
}

#[tokio::test(start_paused = true)]
async fn metadata_is_changed_only_by_who_holds_the_lock_and_after_all_copies() {
    let world = World::new(3).await;
    let ledger = world.closed(2, 2, &[0, 1], 20).await;
    let (store, scope): (Arc<dyn Store>, _) = (world.store.clone(), world.scope());
    let mut lost = Lost::default();
    world.stop(0).await;
    let damage = [Damage { bookie: bookie(0).to_string(), reason: TaskReason::Lost, lacks: vec![] }];
    let first =
        lock(&store, scope, ledger.id, "one", SECOND * 10).await.expect("the store works").expect("a lock");
    let second = lock(&store, scope, ledger.id, "two", SECOND * 10).await.expect("the store works");
    assert!(second.is_none());
    // Paused for longer than its lease: the lock is another's when it goes on.
    let stale = first.guard();
    first.free().await;
    let _other = lock(&store, scope, ledger.id, "two", SECOND * 10).await.expect("the store works");
    let pace = Pace::new(1 << 40);
    let mended = Mended::default();
    let told = mend(&world.cluster, &pace, ledger.id, &damage, &lost, &stale, &mended).await;
    assert!(matches!(told, Err(Trouble::Waits(_))), "{told:?}");
    assert_eq!((mended.copied(), mended.replaced()), (20, 0));
    assert_eq!(world.read(&ledger).await, ledger);

    // A target that refuses one entry: the name stays.
    let guard = _other.as_ref().expect("a lock").guard();
    world.bookies.set(2, Mood::Refusing(Refusal::ReadOnly));
    lost = Lost::default();
    let told = mend(&world.cluster, &pace, ledger.id, &damage, &lost, &guard, &mended).await;
    assert!(matches!(told, Err(Trouble::Failed(text)) if text.contains("read-only")));
    assert_eq!(world.read(&ledger).await, ledger);
    world.bookies.set(2, Mood::Well);
    world.bookies.watch();
    assert_eq!(mend(&world.cluster, &pace, ledger.id, &damage, &lost, &guard, &mended).await, Ok(()));
    let adds = world.bookies.sent().into_iter().filter_map(|(_, request)| match request {
        Request::Add { options, .. } => Some(options.recovery),
        _ => None,
    });
    assert_eq!(adds.collect::<Vec<_>>(), [true; 20], "fenced bookies take nothing else");
    world.assert_whole(&ledger).await;
}

#[tokio::test(start_paused = true)]
async fn copying_keeps_to_its_pace() {
    let pace = Pace::new(1000);
    let start = Instant::now();
    for _ in 0..11 {
        pace.take(500).await;
    }
    assert_eq!(start.elapsed().as_millis() / 100, 50);
}
