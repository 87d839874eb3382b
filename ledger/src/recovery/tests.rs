use std::collections::BTreeSet;

use bytes::Bytes;
use metadata::{LedgerMetadata, State, Stored};
use protocol::entry::{Digest, DigestType, Header};
use protocol::{EntryId, LedgerId};

use super::*;
use crate::model::{Model, Mood, bookie};
use crate::quorum::Quorums;

fn quorums(e: u32, w: u32, a: u32) -> Quorums {
    Quorums::new(e, w, a).unwrap_or_else(|_| unreachable!("good quorums"))
}

fn encoded(ledger: LedgerId, entry: i64, lac: i64) -> Bytes {
    let header = Header { ledger, entry: EntryId(entry), lac: EntryId(lac), length: (entry + 1) * 5 };
    Digest::new(DigestType::Crc32c, b"").encode(&header, b"bytes")
}

/// Puts entry `entry` on `holders`, as a writer whose LAC was `lac` would have.
fn put(model: &Model, ledger: LedgerId, entry: i64, lac: i64, holders: &[usize]) {
    for &n in holders {
        model.bookies.put(n, ledger, EntryId(entry), encoded(ledger, entry, lac));
    }
}

fn end_of(stored: &Stored) -> (i64, i64) {
    match stored.metadata.state {
        State::Closed { last, length } => (last.0, length),
        other => panic!("not closed but {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_acknowledged_is_kept_and_written_to_all() {
    let model = Model::new(3, 1);
    let ledger = model.ledger(quorums(3, 3, 2), &[0, 1, 2]).await.id;
    for entry in 0..10 {
        put(&model, ledger, entry, entry - 3, &[0, 1, 2]);
    }
    put(&model, ledger, 10, 7, &[1, 2]);
    put(&model, ledger, 12, 7, &[0, 1, 2]);
    model.bookies.watch();
    let closed = recover(&model.cluster, ledger).await.expect("recovers");
    assert_eq!(end_of(&closed), (10, 55), "entry 10 was read, 11 is nowhere, 12 is behind the end");
    assert!((0..3).all(|n| model.bookies.has(n, ledger, EntryId(10))));
    for (_, request) in model.bookies.sent() {
        match request {
            Request::Read { options, .. } => assert!(options.fence.is_some(), "every read fences"),
            Request::Add { body, options, .. } => {
                assert!(options.recovery);
                let lac = Header::of(&body.joined()).map(|h| h.lac);
                assert_eq!(lac, Some(EntryId(7)), "the LAC stays the one that was found");
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_ledger_is_returned_as_it_is_and_a_missing_one_is_named() {
    let model = Model::new(3, 1);
    let ledger = model.ledger(quorums(3, 2, 2), &[0, 1, 2]).await.id;
    let first = recover(&model.cluster, ledger).await.expect("recovers");
    assert_eq!(end_of(&first), (-1, 0));
    model.bookies.watch();
    assert_eq!(recover(&model.cluster, ledger).await, Ok(first));
    assert!(model.bookies.sent().is_empty());
    let missing = LedgerId(4711);
    assert_eq!(recover(&model.cluster, missing).await, Err(Error::NoSuchLedger(missing)));
}

#[tokio::test(start_paused = true)]
async fn without_coverage_nothing_is_decided() {
    for mood in [Mood::Down, Mood::Silent, Mood::Refusing(Refusal::Unknown), Mood::Refusing(Refusal::Io)] {
        let model = Model::new(3, 1);
        let ledger = model.ledger(quorums(3, 3, 2), &[0, 1, 2]).await.id;
        put(&model, ledger, 0, -1, &[1, 2]);
        model.bookies.set(1, mood);
        model.bookies.set(2, mood);
        let failed = recover(&model.cluster, ledger).await;
        assert!(matches!(&failed, Err(Error::Unavailable(why)) if why.contains("b1:3181")), "{failed:?}");
        let state = model.cluster.stored(ledger).await.map(|s| s.metadata.state);
        assert_eq!(state, Ok(State::InRecovery), "and it can be tried again");
        model.bookies.set(1, Mood::Well);
        assert_eq!(recover(&model.cluster, ledger).await.map(|s| end_of(&s)), Ok((0, 5)));
    }
}

/// TLA+ defect 1 and rule R7: an entry on A and C; C is fenced for the LAC, then cannot tell.
#[tokio::test(start_paused = true)]
async fn an_unknown_answer_is_not_a_no() {
    let model = Model::new(3, 1);
    let stored = model.ledger(quorums(3, 3, 2), &[0, 1, 2]).await;
    let mut out = Vec::new();
    let mut recovery = Recovery::new(Layout::of(&stored).expect("good metadata"), &mut out);
    let no = Err(Failure::Refused(Refusal::NoLedger));
    let mut reads = Vec::new();
    recovery.answered(Purpose::Last { index: 0 }, no.clone(), &mut reads);
    recovery.answered(Purpose::Last { index: 1 }, no.clone(), &mut reads);
    assert!(!reads.is_empty(), "two of three cover an ack quorum of two");
    let mut read = |index, reply: Reply, recovery: &mut Recovery| {
        recovery.answered(Purpose::Read { entry: EntryId(0), index }, reply, &mut reads);
    };
    read(1, no.clone(), &mut recovery);
    read(2, Err(Failure::Refused(Refusal::Unknown)), &mut recovery);
    assert_eq!(recovery.step(), Step::Replies, "one no of three proves nothing");
    read(0, Err(Failure::TimedOut), &mut recovery);
    assert!(matches!(recovery.step(), Step::Failed(Error::Unavailable(_))));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_copy_neither_proves_nor_disproves() {
    let model = Model::new(3, 1);
    let ledger = model.ledger(quorums(3, 3, 2), &[0, 1, 2]).await.id;
    put(&model, ledger, 0, -1, &[0, 1]);
    model.bookies.damage(0, ledger, EntryId(0));
    let closed = recover(&model.cluster, ledger).await.expect("recovers");
    assert_eq!(end_of(&closed), (0, 5));
}

#[tokio::test(start_paused = true)]
async fn a_ledger_of_many_segments_keeps_its_length_when_the_last_one_is_empty() {
    let model = Model::new(5, 1);
    let mut stored = model.ledger(quorums(3, 3, 2), &[0, 1, 2]).await;
    let ledger = stored.id;
    for entry in 0..4 {
        put(&model, ledger, entry, entry - 1, &[0, 1, 2]);
    }
    for (first, members) in [(4, [0, 1, 3]), (8, [4, 1, 3])] {
        let mut metadata = stored.metadata.clone();
        let ensemble = members.iter().map(|&n| bookie(n)).collect();
        metadata.segments.push(Segment { first: EntryId(first), ensemble });
        let grown = |_: &LedgerMetadata| Some(metadata.clone());
        let Ok(metadata::ledgers::Updated::Done(grown)) = model.cluster.ledgers.update(ledger, grown).await
        else {
            panic!("updates");
        };
        stored = grown;
    }
    for entry in 4..8 {
        put(&model, ledger, entry, entry - 1, &[0, 1, 3]);
    }
    model.bookies.set(0, Mood::Down);
    let closed = recover(&model.cluster, ledger).await.expect("recovers");
    assert_eq!(end_of(&closed), (7, 40));
    assert_eq!(closed.metadata.segments, stored.metadata.segments);
}

#[tokio::test(start_paused = true)]
async fn a_bookie_that_cannot_be_written_is_replaced_from_the_first_uncommitted_entry_on() {
    let model = Model::new(4, 1);
    let before = model.ledger(quorums(2, 2, 2), &[0, 1]).await;
    let ledger = before.id;
    for entry in 0..6 {
        put(&model, ledger, entry, 2, &[0, 1]);
    }
    model.bookies.set(1, Mood::Down);
    let closed = recover(&model.cluster, ledger).await.expect("recovers with a replacement");
    assert_eq!(end_of(&closed), (5, 30));
    let segments = &closed.metadata.segments;
    assert_eq!((segments.len(), segments[1].first), (2, EntryId(3)));
    assert_eq!(segments[1].ensemble[0], bookie(0));
    let other = (2..4).find(|&n| segments[1].ensemble[1] == bookie(n)).expect("one of the spares");
    assert!((3..6).all(|entry| model.bookies.has(other, ledger, EntryId(entry))));
    assert_eq!(
        metadata::schema::check_transition(Some(&in_recovery(&before)), Some(&closed.metadata)),
        Ok(())
    );
}

fn in_recovery(stored: &Stored) -> LedgerMetadata {
    LedgerMetadata { state: State::InRecovery, ..stored.metadata.clone() }
}

#[tokio::test(start_paused = true)]
async fn without_another_bookie_recovery_says_what_is_missing() {
    let model = Model::new(2, 1);
    let ledger = model.ledger(quorums(2, 2, 2), &[0, 1]).await.id;
    put(&model, ledger, 0, -1, &[0]);
    model.bookies.set(1, Mood::Down);
    let failed = recover(&model.cluster, ledger).await;
    assert!(matches!(&failed, Err(Error::TooFewBookies(why)) if why.contains("b1:3181")), "{failed:?}");
    model.bookies.set(1, Mood::Well);
    assert_eq!(recover(&model.cluster, ledger).await.map(|s| end_of(&s)), Ok((0, 5)));
}

#[tokio::test(start_paused = true)]
async fn an_unclear_metadata_change_is_settled() {
    for unclear in 0..2 {
        let model = Model::new(3, 1);
        let ledger = model.ledger(quorums(3, 2, 2), &[0, 1, 2]).await.id;
        put(&model, ledger, 0, -1, &[0, 1]);
        model.store.ambiguous_after(unclear);
        assert_eq!(recover(&model.cluster, ledger).await.map(|s| end_of(&s)), Ok((0, 5)), "{unclear}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_wrong_password_is_told() {
    let model = Model::new(3, 1);
    let ledger = model.ledger(quorums(3, 2, 2), &[0, 1, 2]).await.id;
    model.bookies.set(0, Mood::Refusing(Refusal::Unauthorized));
    assert_eq!(recover(&model.cluster, ledger).await, Err(Error::Unauthorized(ledger)));
}

/// Several recoverers race, some die on the way, a bookie is down, entries are scattered: all that finish agree, and
/// the end is at or behind everything that an ack quorum had.
#[tokio::test(start_paused = true)]
async fn racing_recoverers_agree() {
    for seed in 0..60 {
        let model = Model::new(5, seed);
        let q = [quorums(3, 3, 2), quorums(3, 2, 2), quorums(4, 3, 2), quorums(3, 2, 1)][seed as usize % 4];
        let members: Vec<_> = (0..q.ensemble()).collect();
        let ledger = model.ledger(q, &members).await.id;
        let mut acknowledged = -1;
        for entry in 0..20 {
            let keep =
                |n: &usize| (seed.wrapping_mul(31) >> (entry as u64 + *n as u64) & 3) != 0 || entry < 5;
            let holders: Vec<_> = q.write_set(EntryId(entry)).filter(keep).collect();
            put(&model, ledger, entry, acknowledged.min(entry - 1), &holders);
            if holders.len() >= q.ack() && acknowledged == entry - 1 {
                acknowledged = entry;
            }
        }
        if q.ack() > 1 {
            model.bookies.set(seed as usize % q.ensemble(), Mood::Down);
        }
        let tasks: Vec<_> = (0..4u64)
            .map(|i| {
                let cluster = model.cluster.clone();
                let patience = std::time::Duration::from_millis(if i == 0 { seed % 17 } else { 60_000 });
                tokio::spawn(async move { tokio::time::timeout(patience, recover(&cluster, ledger)).await })
            })
            .collect();
        let mut ends = BTreeSet::new();
        for task in tasks {
            if let Ok(Ok(finished)) = task.await {
                let stored = finished.unwrap_or_else(|e| panic!("seed {seed}: {e}"));
                ends.insert(end_of(&stored));
                assert_eq!(Ok(stored), model.cluster.stored(ledger).await, "seed {seed}");
            }
        }
        assert_eq!(ends.len(), 1, "seed {seed}: {ends:?}");
        assert!(
            ends.iter().all(|(last, length)| *last >= acknowledged && *length == (last + 1) * 5),
            "seed {seed}"
        );
    }
}
