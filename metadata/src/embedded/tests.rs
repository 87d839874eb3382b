//! Power loss, damage and errors of the disk under an embedded store.

use std::sync::Arc;

use disk::Disk;
use disk::simulated::{Call, Device, Fault};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{Embedded, OpenError, Sizes};
use crate::{Compare, Error, Store, Txn, TxnOutcome};

/// Small: a new file every few dozen transactions.
const SIZES: Sizes = Sizes { log: 16 << 10, history: 100 };

fn open(device: &Device) -> Result<Arc<Embedded>, OpenError> {
    Embedded::open(device.mount(), SIZES)
}

async fn number(store: &Embedded, key: &str) -> Result<u64, Error> {
    let found = store.get(key).await?;
    Ok(found.map_or(0, |found| String::from_utf8_lossy(&found.value).parse().unwrap_or(u64::MAX)))
}

/// Counts up from what is there until the store fails; the highest number that was acknowledged, and that was tried.
async fn count(store: &Arc<Embedded>, key: &'static str, rounds: u64) -> (u64, u64) {
    let Ok(start) = number(store, key).await else { return (0, u64::MAX) };
    for n in start + 1..start + rounds {
        // The padding makes groups of several blocks, which can tear.
        let txn = Txn::default().put(key, n.to_string()).put(format!("{key}/padding"), vec![7; 3000]);
        match store.txn(txn).await {
            Ok(TxnOutcome::Done(_)) => {}
            other => {
                assert!(matches!(other, Err(Error::Ambiguous(_) | Error::Unavailable(_))), "{other:?}");
                return (n - 1, n);
            }
        }
    }
    (start + rounds - 1, start + rounds - 1)
}

#[tokio::test(start_paused = true)]
async fn power_loss_at_any_call_loses_nothing_acknowledged() {
    for seed in 0..150 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let device = Device::new(seed, 4 << 20);
        let mut acknowledged = [0, 0];
        for _ in 0..6 {
            device.fail(Call::Any, rng.random_range(0..120), Fault::Power);
            if let Ok(store) = open(&device) {
                // Two at once: their transactions share groups.
                let (a, b) = tokio::join!(count(&store, "a", 40), count(&store, "b", 40));
                acknowledged = [acknowledged[0].max(a.0), acknowledged[1].max(b.0)];
            }
            device.lose_power();
            device.heal();
            let store = open(&device).expect("it opens after power loss");
            for (key, least) in ["a", "b"].into_iter().zip(acknowledged) {
                let now = number(&store, key).await.expect("it reads");
                assert!(now >= least, "seed {seed}: {key} was acknowledged at {least} and is {now}");
            }
            drop(store);
            device.kill();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_disk_stops_the_store() {
    for (call, fault) in [(Call::Write, Fault::Io), (Call::Write, Fault::Short), (Call::Sync, Fault::Io)] {
        let device = Device::new(1, 4 << 20);
        let store = open(&device).expect("it opens");
        let txn = |n: &str| Txn::default().put("k", n.to_owned());
        assert!(matches!(store.txn(txn("1")).await, Ok(TxnOutcome::Done(_))));
        device.fail(call, 0, fault);
        assert!(matches!(store.txn(txn("2")).await, Err(Error::Ambiguous(_))), "{call:?} {fault:?}");
        assert!(matches!(store.txn(txn("3")).await, Err(Error::Unavailable(_))));
        assert!(matches!(store.get("k").await, Err(Error::Unavailable(_))));
        drop(store);
        device.kill();
        let now = number(&open(&device).expect("it opens"), "k").await.expect("it reads");
        assert!(now == 1 || now == 2, "{now}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let device = Device::new(1, 100 << 10);
    let store = open(&device).expect("it opens");
    let put = |n: usize| Txn::default().put(format!("{n}"), vec![1; 2000]);
    let mut n = 0;
    let refused = loop {
        match store.txn(put(n)).await {
            Ok(_) => n += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&refused, Error::Unavailable(text) if text.contains("no room")), "{refused:?}");
    assert!(store.get("0").await.expect("reads go on").is_some());
    assert_eq!(
        store.get(&n.to_string()).await.expect("reads go on"),
        None,
        "what was refused did not happen"
    );
    device.set_capacity(10 << 20);
    assert!(matches!(store.txn(put(n)).await, Ok(TxnOutcome::Done(_))));
}

#[tokio::test(start_paused = true)]
async fn damage_to_what_was_acknowledged_is_not_taken_for_a_torn_end() {
    let device = Device::new(1, 4 << 20);
    let store = open(&device).expect("it opens");
    for n in 0..8 {
        store.txn(Txn::default().put("k", n.to_string())).await.expect("it works");
    }
    drop(store);
    device.kill();
    let (name, _) = device.files().into_iter().next().expect("there is a file");
    let whole = device.snapshot();
    // Header, then eight groups of a block each: the fourth, and the header.
    for position in [4 * 512 + 40, 20] {
        device.restore(&whole);
        device.flip_bit_at(&name, position);
        let told = open(&device).err().map(|error| error.to_string());
        assert!(
            told.as_ref().is_some_and(|text| text.contains("damaged") && text.contains(&name)),
            "{told:?}"
        );
    }
    // The last group alone cannot be told from a torn end: there is nothing behind it.
    device.restore(&whole);
    device.flip_bit_at(&name, 8 * 512 + 40);
    let store = open(&device).expect("it opens");
    assert_eq!(number(&store, "k").await, Ok(6));
}

#[tokio::test(start_paused = true)]
async fn a_restart_ends_leases_and_gives_no_lease_id_twice() {
    let device = Device::new(1, 4 << 20);
    let store = open(&device).expect("it opens");
    let lease = store.grant(std::time::Duration::from_secs(10)).await.expect("a lease");
    store.txn(Txn::default().put_leased("leased", "", lease).put("free", "")).await.expect("it works");
    let before = store.range("", None, 1).await.expect("a range").revision;
    drop(store);
    device.kill();
    let store = open(&device).expect("it opens");
    assert_eq!(store.renew(lease).await, Err(Error::LeaseGone));
    assert_eq!(store.get("leased").await, Ok(None));
    assert!(store.get("free").await.is_ok_and(|free| free.is_some()));
    assert_ne!(store.grant(std::time::Duration::from_secs(10)).await, Ok(lease));
    assert!(store.range("", None, 1).await.expect("a range").revision > before);
    let mut watch = store.watch("", before).await.expect("a watch");
    assert_eq!(watch.next().await, crate::store::Change::Lost);
}

/// How many syncs `callers` need that each run one transaction after the other.
#[tokio::test(start_paused = true)]
async fn transactions_that_wait_share_a_sync() {
    let device = Device::new(1, 64 << 20);
    let store = Embedded::open(device.mount(), Sizes::default()).expect("it opens");
    let before = device.calls();
    let tasks: Vec<_> = (0..100)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..10 {
                    let key = format!("{task}/{n}");
                    let txn = Txn::default().compare(Compare::Absent(key.clone())).put(key, "");
                    store.txn(txn).await.expect("it works");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a task ends");
    }
    let calls = device.calls() - before;
    assert!(calls < 100, "{calls} disk calls for 1,000 transactions of 100 callers");
}

/// Written by the first release; all later ones read it.
#[tokio::test(start_paused = true)]
async fn the_golden_file_is_read() {
    let golden = include_bytes!("../../../tests/golden/metadata/embedded_store.v1.bin");
    let device = Device::new(1, 4 << 20);
    let disk = device.mount();
    let file = disk.create("meta-0000000000000001", golden.len() as u64).expect("a file");
    file.write_at(0, &[std::io::IoSlice::new(golden)]).expect("a write");
    file.sync().expect("a sync");
    disk.sync_folder().expect("a sync");
    let store = Embedded::open(disk, SIZES).expect("it opens");
    let page = store.range("", None, 10).await.expect("a range");
    let seen: Vec<_> = page.entries.iter().map(|e| (e.key.as_str(), &e.value[..], e.version)).collect();
    assert_eq!(seen, [("/local", &b""[..], 1), ("/local/a", b"two", 2), ("/local/c", &[0xff; 3], 1)]);
}
