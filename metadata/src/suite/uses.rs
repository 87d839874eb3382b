//! What this crate does with a store, done on this one: ledgers, registrations, elections, formatting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::entry::DigestType;
use protocol::{BookieId, EntryId};
use tokio::time::{Instant, sleep, timeout};

use super::{Mood, Subject, Unsure, done, leases::gone};
use crate::cluster::{self, Format};
use crate::ledgers::{Swapped, Updated};
use crate::registry::{self, Registration, RegistrationState, Standing};
use crate::schema::{Cookie, LedgerMetadata, Published, Segment, State, check_transition};
use crate::{Error, Ledgers, Scope, Store, Txn, election};

pub async fn run(subject: &Subject) -> Result<(), Error> {
    let scope = Scope::new("/suite/cluster")?;
    a_cluster_is_formatted_once(&subject.store, &scope).await?;
    ledgers_have_ids_of_their_own(&subject.store, &scope).await?;
    a_ledger_is_changed_by_whoever_comes_first(&subject.store, &scope).await?;
    a_bookie_is_registered_while_it_lives(subject, &scope).await?;
    there_is_one_leader(subject, &scope).await?;
    let report = cluster::check(&subject.store, &scope).await?;
    assert_eq!(report.problems, Vec::<String>::new());
    Ok(())
}

fn bookie(name: &str) -> BookieId {
    format!("{name}:3181").parse().expect("a name of the suite is a bookie id")
}

fn draft(token: i64) -> LedgerMetadata {
    LedgerMetadata {
        ensemble_size: 1,
        write_quorum: 1,
        ack_quorum: 1,
        state: State::Open,
        segments: vec![Segment { first: EntryId::FIRST, ensemble: vec![bookie("a")] }],
        digest: DigestType::Crc32c,
        password: "secret".into(),
        created_ms: None,
        custom: BTreeMap::new(),
        token,
    }
}

async fn a_cluster_is_formatted_once(store: &Arc<dyn Store>, scope: &Scope) -> Result<(), Error> {
    let [one, two] = ["6f1c4f4e-3d0f-4a39-9a3b-31d11ae2e0a1", "6f1c4f4e-3d0f-4a39-9a3b-31d11ae2e0a2"];
    let told = cluster::require(&**store, scope).await.map_err(|error| error.to_string());
    assert!(matches!(&told, Err(text) if text.contains("cluster init")), "{told:?}");
    assert_eq!(cluster::init(&**store, scope, one).await?, (one.to_owned(), true));
    assert_eq!(cluster::init(&**store, scope, two).await?, (one.to_owned(), false));
    let half = Scope::new("/suite/half")?;
    done(store, Txn::default().put(half.layout(), crate::schema::LAYOUT)).await?;
    assert!(
        matches!(cluster::format(&**store, &half).await?, Format::Half { missing } if missing.len() == 2)
    );
    let told = cluster::init(&**store, &half, two).await.map_err(|error| error.to_string());
    assert!(matches!(&told, Err(text) if text.contains("half formatted")), "{told:?}");
    let other = Scope::new("/suite/other")?;
    done(store, Txn::default().put(other.layout(), "2\nsome.other.Factory:0")).await?;
    let told = cluster::init(&**store, &other, two).await.map_err(|error| error.to_string());
    assert!(matches!(&told, Err(text) if text.contains("some.other.Factory")), "{told:?}");
    Ok(())
}

async fn ledgers_have_ids_of_their_own(store: &Arc<dyn Store>, scope: &Scope) -> Result<(), Error> {
    // Two clients that begin at the same bucket, one of them unsure of every third allocation.
    let moods = (0..4).flat_map(|_| [Mood::Silent, Mood::Dropped]);
    let unsure = Ledgers::new(Unsure::new(store.clone(), moods), scope.clone(), 7);
    let sure = Ledgers::new(store.clone(), scope.clone(), 7);
    let many = |ledgers: Ledgers| async move {
        let mut ids = Vec::new();
        for _ in 0..40 {
            ids.push(ledgers.allocate().await?);
        }
        Ok::<_, Error>(ids)
    };
    let tasks = [sure.clone(), unsure, sure].map(|ledgers| tokio::spawn(many(ledgers)));
    let mut ids = BTreeSet::new();
    for task in tasks {
        for id in task.await.expect("a task of the suite ends")? {
            assert!(id.0 > 0 && ids.insert(id), "{id} was given twice");
        }
    }
    Ok(())
}

async fn a_ledger_is_changed_by_whoever_comes_first(
    store: &Arc<dyn Store>,
    scope: &Scope,
) -> Result<(), Error> {
    let ledgers = Ledgers::new(store.clone(), scope.clone(), 100);
    // Created once, though the store did not say so: allocation goes well, creation is not told.
    let unsure = Unsure::new(store.clone(), [Mood::Dropped, Mood::Silent]);
    let created = Ledgers::new(unsure, scope.clone(), 100).create(draft(1)).await?;
    assert_eq!(ledgers.read(created.id).await?, Some(created.clone()));
    let again = ledgers.create_as(created.id, draft(2)).await?;
    assert_eq!(again, Swapped::Conflict(Some(created.clone())));

    let close = |last: i64| {
        move |now: &LedgerMetadata| match now.state {
            State::Closed { .. } => None,
            _ => Some(LedgerMetadata {
                state: State::Closed { last: EntryId(last), length: 0 },
                ..now.clone()
            }),
        }
    };
    let (one, two) = tokio::join!(ledgers.update(created.id, close(1)), ledgers.update(created.id, close(2)));
    let closed = match (one?, two?) {
        (Updated::Done(mine), Updated::Declined(other)) | (Updated::Declined(other), Updated::Done(mine)) => {
            assert_eq!(mine, other, "the loser sees the winner's");
            mine
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(check_transition(Some(&created.metadata), Some(&closed.metadata)), Ok(()));
    assert_eq!(ledgers.list(None, 10).await?.ledgers, vec![closed.clone()]);
    assert!(!ledgers.delete(created.id, Some(created.version)).await?);
    assert!(ledgers.delete(created.id, Some(closed.version)).await?);
    assert_eq!(ledgers.update(created.id, close(3)).await?, Updated::Deleted);
    Ok(())
}

async fn a_bookie_is_registered_while_it_lives(subject: &Subject, scope: &Scope) -> Result<(), Error> {
    let store = &subject.store;
    let id = bookie("a");
    let cookie = Cookie {
        bookie: id.clone(),
        journal_dirs: "/d".into(),
        ledger_dirs: vec!["/d".into()],
        index_dirs: None,
        instance_id: cluster::require(&**store, scope).await?,
    };
    assert!(registry::write_cookie(&**store, scope, &cookie, None).await?);
    assert!(!registry::write_cookie(&**store, scope, &cookie, None).await?);
    let mut directory = registry::follow(store.clone(), scope.clone()).await?;
    let says = Published {
        address: "10.0.0.1:3181".into(),
        zone: "z".into(),
        incarnation: 3,
        ..Published::default()
    };
    let start =
        || Registration::start(store.clone(), scope.clone(), id.clone(), says.clone(), true, subject.ttl);
    let registration = start().await?;
    while directory.writable().is_empty() {
        directory.changed().await;
    }
    assert_eq!((directory.address(&id), directory.is_here(&id)), ("10.0.0.1:3181".into(), true));

    // Killed, and started again: the new registration waits for the old lease to end.
    drop(registration);
    let registration = timeout(subject.ttl * 2 + subject.late, start()).await.expect("the old lease ends")?;
    registration.set_writable(false);
    while directory.find(&id).is_none_or(|info| info.standing != Standing::Readonly) {
        directory.changed().await;
    }
    assert_eq!(store.get(&scope.writable(&id)).await?, None);
    // The lease is lost; it registers again by itself.
    let lease = store.get(&scope.readonly(&id)).await?.and_then(|key| key.lease).expect("it is on a lease");
    store.revoke(lease).await?;
    let start = Instant::now();
    while store.get(&scope.readonly(&id)).await?.is_none() {
        assert!(start.elapsed() < subject.ttl * 2 + subject.late, "it does not come back");
        sleep(subject.ttl / 20).await;
    }
    another_of_the_name_is_noticed(subject, scope, &registration, &says).await?;
    registration.withdraw().await;
    gone(store, &scope.readonly(&id), subject.ttl + subject.late).await?;
    assert_eq!(registry::bookies(&**store, scope).await?.len(), 1, "its cookie and what it published stay");
    Ok(())
}

/// Another process has taken its key: it is not registered, whatever else it can still write.
async fn another_of_the_name_is_noticed(
    subject: &Subject,
    scope: &Scope,
    registration: &Registration,
    says: &Published,
) -> Result<(), Error> {
    let (store, key) = (&subject.store, scope.readonly(&bookie("a")));
    let lease = store.grant(subject.ttl * 100).await?;
    done(store, Txn::default().put_leased(&key, "", lease)).await?;
    let mut state = registration.state();
    let registered = |state: &RegistrationState| matches!(state, RegistrationState::Registered { .. });
    timeout(subject.ttl * 2, state.wait_for(|state| !registered(state))).await.expect("it is noticed").ok();
    for free_bytes in 0..5 {
        registration.publish(Published { free_bytes, total_bytes: 9, ..says.clone() });
        sleep(subject.ttl / 20).await;
        assert!(!registered(&state.borrow()), "publishing something is no registration");
    }
    store.revoke(lease).await?;
    timeout(subject.ttl * 2, state.wait_for(registered)).await.expect("it registers again").ok();
    Ok(())
}

async fn there_is_one_leader(subject: &Subject, scope: &Scope) -> Result<(), Error> {
    let store = &subject.store;
    let stand = |name: &'static str| election::stand(store.clone(), scope, "suite", name, subject.ttl);
    let first = stand("first").await?;
    assert!(first.holds());
    assert!(timeout(subject.ttl * 2, stand("second")).await.is_err(), "two leaders");
    done(store, Txn::default().compare(first.guard()).put("/suite/led", "first")).await?;
    let guard = first.guard();
    drop(first);
    // Not resigned, as if killed: the next one waits for the lease.
    let second = timeout(subject.ttl + subject.late + subject.ttl, stand("second"))
        .await
        .expect("the office is free")?;
    assert_eq!(second.epoch, 2);
    let old = store.txn(Txn::default().compare(guard).put("/suite/led", "old")).await?;
    assert!(matches!(old, crate::TxnOutcome::Conflict(_)), "an old leader was obeyed");
    second.resign().await;
    let third = stand("third").await?;
    assert_eq!(third.epoch, 3);
    let leader = election::leader(&**store, scope, "suite").await?;
    assert_eq!(leader.map(|leader| leader.name), Some("third".into()));
    // The lease ends early: the leader learns of it.
    let lease = store.get(&scope.leader("suite")).await?.and_then(|key| key.lease).expect("it is on a lease");
    store.revoke(lease).await?;
    timeout(subject.ttl + subject.late, third.lost()).await.expect("the loss is seen");
    assert!(!third.holds());
    Ok(())
}
