use bytes::Bytes;
use protocol::bookie::Refusal;

use super::*;
use crate::model::{Model, Mood, bookie};
use crate::quorum::Quorums;
use crate::recovery::recover;
use crate::writer::{LedgerWriter, Plan};

fn payload(i: i64) -> Bytes {
    Bytes::from(vec![i as u8; 100 + i as usize % 50])
}

async fn writer(model: &Model, e: u32, w: u32, a: u32, entries: i64) -> LedgerWriter {
    let quorums = Quorums::new(e, w, a).expect("good quorums");
    let writer = LedgerWriter::create(&model.cluster, &Plan::new(quorums)).await.expect("creates");
    for i in 0..entries {
        writer.append_when_room(payload(i)).await.expect("takes it");
        if i == entries / 2 {
            writer.acknowledged(EntryId(i)).await.expect("acknowledges");
        }
    }
    writer.acknowledged(EntryId(entries - 1)).await.expect("acknowledges");
    tokio::time::sleep(Duration::from_millis(20)).await;
    writer
}

async fn closed(model: &Model, e: u32, w: u32, a: u32, entries: i64) -> LedgerReader {
    let stored = writer(model, e, w, a, entries).await.close().await.expect("closes");
    LedgerReader::of(&model.cluster, &stored, ReadPatience::default()).expect("opens")
}

async fn read_all(reader: LedgerReader, piece: usize) -> Vec<LedgerEntry> {
    let last = reader.confirmed();
    let mut ahead = ReadAhead::new(Arc::new(reader), EntryId::FIRST, last, piece, 3);
    let mut all = Vec::new();
    while let Some(entries) = ahead.next().await {
        all.extend(entries.expect("reads"));
    }
    all
}

fn check(entries: &[LedgerEntry], from: i64) {
    let mut length = (0..from).map(|i| payload(i).len() as i64).sum();
    for (entry, i) in entries.iter().zip(from..) {
        length += payload(i).len() as i64;
        assert_eq!(*entry, LedgerEntry { entry: EntryId(i), length, payload: payload(i) });
    }
}

#[tokio::test(start_paused = true)]
async fn all_entries_come_back_in_order_whatever_the_striping() {
    for (e, w, a) in [(1, 1, 1), (3, 3, 2), (3, 2, 2), (5, 3, 2)] {
        for piece in [1, 1000, 100_000] {
            let model = Model::new(5, 1);
            let entries = read_all(closed(&model, e, w, a, 200).await, piece).await;
            assert_eq!(entries.len(), 200);
            check(&entries, 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_takes_many_entries_but_keeps_to_its_size() {
    let model = Model::new(3, 1);
    let reader = closed(&model, 3, 3, 2, 100).await;
    let some = reader.read(EntryId(10), EntryId(99), 2000).await.expect("reads");
    assert!((5..=20).contains(&some.len()), "{}", some.len());
    check(&some, 10);
    assert_eq!(reader.read(EntryId(10), EntryId(12), 1 << 20).await.expect("reads").len(), 3);
    assert_eq!(reader.read(EntryId(10), EntryId(99), 1).await.expect("reads").len(), 1);
    assert!(matches!(reader.read(EntryId(99), EntryId(100), 1).await, Err(Error::NotYet(_))));
    assert!(matches!(reader.read(EntryId(-1), EntryId(3), 1).await, Err(Error::Invalid(_))));
}

#[tokio::test(start_paused = true)]
async fn dead_lying_and_forgetful_replicas_are_passed_over() {
    for mood in [Mood::Down, Mood::Refusing(Refusal::Unknown), Mood::Refusing(Refusal::NoLedger)] {
        let model = Model::new(3, 1);
        let reader = closed(&model, 3, 3, 2, 50).await;
        model.bookies.set(1, mood);
        model.bookies.damage(0, reader.ledger(), EntryId(20));
        model.bookies.forget(0, reader.ledger(), EntryId(30));
        let entries = read_all(reader, 1500).await;
        assert_eq!(entries.len(), 50);
        check(&entries, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_replica_is_hedged() {
    let model = Model::new(3, 1);
    let reader = closed(&model, 3, 2, 2, 10).await;
    model.bookies.set(0, Mood::Silent);
    let began = Instant::now();
    check(&reader.read(EntryId(0), EntryId(0), 1).await.expect("reads"), 0);
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn loss_is_told_apart_from_absence_for_now() {
    let model = Model::new(3, 1);
    let reader = closed(&model, 3, 3, 2, 10).await;
    (0..3).for_each(|n| model.bookies.forget(n, reader.ledger(), EntryId(4)));
    let lost = reader.read(EntryId(4), EntryId(9), 1 << 20).await;
    assert!(matches!(lost, Err(Error::DataLoss { entry: EntryId(4), .. })), "{lost:?}");
    model.bookies.set(2, Mood::Down);
    let unclear = reader.read(EntryId(4), EntryId(4), 1 << 20).await;
    assert!(matches!(&unclear, Err(Error::Unavailable(why)) if why.contains("b2:3181")), "{unclear:?}");
}

#[tokio::test(start_paused = true)]
async fn bookies_that_cannot_batch_are_read_one_by_one() {
    for (e, w, mood) in [
        (3, 3, Mood::WithoutBatches),
        (1, 1, Mood::WithoutBatches),
        (3, 3, Mood::HangingUpOnBatches),
        (1, 1, Mood::HangingUpOnBatches),
    ] {
        let model = Model::new(e as usize, 1);
        let reader = closed(&model, e, w, 1, 30).await;
        (0..e as usize).for_each(|n| model.bookies.set(n, mood));
        let entries = read_all(reader, 1500).await;
        assert_eq!(entries.len(), 30);
        check(&entries, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_ledger_is_read_up_to_what_is_confirmed() {
    let model = Model::new(3, 1);
    let writer = writer(&model, 3, 3, 2, 20).await;
    let reader = LedgerReader::open(&model.cluster, writer.ledger()).await.expect("opens");
    assert!(matches!(reader.read(EntryId(0), EntryId(0), 1).await, Err(Error::NotYet(_))));
    let lac = reader.last_confirmed().await.expect("answers");
    assert_eq!(lac, EntryId(10), "the last entry's LAC is an earlier one");
    check(&reader.read(EntryId(0), lac, 1 << 20).await.expect("reads"), 0);
    let last = last_stored(&model.cluster, writer.ledger()).await.expect("answers");
    assert_eq!(last.map(|e| e.entry), Some(EntryId(19)));
    writer.close().await.expect("closes");
    assert_eq!(reader.last_confirmed().await, Ok(EntryId(19)));
    assert_eq!(read_all(reader, 1000).await.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_ledger_of_several_segments_is_read_across_them() {
    let model = Model::new(4, 3);
    let q = Quorums::new(2, 2, 2).expect("good quorums");
    let writer = {
        let stored = model.ledger(q, &[0, 1]).await;
        let plan = Plan::new(q);
        let layout = Layout::of(&stored).expect("good");
        let target = crate::writer::Target {
            ledger: stored.id,
            quorums: q,
            ensemble: vec![bookie(0), bookie(1)],
            absent: Members::NONE,
            key: layout.key,
            digest: layout.digest,
            first: EntryId::FIRST,
            length: 0,
        };
        LedgerWriter::resume(&model.cluster, stored, target, &plan)
    };
    for i in 0..40 {
        writer.append_when_room(payload(i)).await.expect("takes it");
        if i == 20 {
            writer.acknowledged(EntryId(20)).await.expect("acknowledges");
        }
    }
    model.bookies.set(1, Mood::Down);
    let stored = recover(&model.cluster, writer.ledger()).await.expect("recovers");
    model.bookies.set(1, Mood::Well);
    assert!(stored.metadata.segments.len() > 1);
    let reader = LedgerReader::of(&model.cluster, &stored, ReadPatience::default()).expect("opens");
    let entries = read_all(reader, 100_000).await;
    assert!(entries.len() > 20);
    check(&entries, 0);
}
