//! Values as they were written by the first release, or by BookKeeper: all releases read them.

use bytes::Bytes;
use proptest::prelude::*;
use protocol::entry::DigestType;
use protocol::{EntryId, LedgerId};

use super::*;
use crate::election::Leader;

fn segment(first: i64, ensemble: [&str; 3]) -> Segment {
    let ensemble = ensemble.iter().filter_map(|id| id.parse().ok()).collect();
    Segment { first: EntryId(first), ensemble }
}

fn ledger() -> LedgerMetadata {
    LedgerMetadata {
        ensemble_size: 3,
        write_quorum: 3,
        ack_quorum: 2,
        state: State::Closed { last: EntryId(41), length: 4200 },
        segments: vec![
            segment(0, ["b1:3181", "b2:3181", "b3:3181"]),
            segment(17, ["b1:3181", "b4:3181", "b3:3181"]),
        ],
        digest: DigestType::Crc32c,
        password: Bytes::from_static(b"a\x01\"\xff"),
        created_ms: None,
        custom: Origin { vb: "broker-0".into(), kind: "log".into(), epoch: 7 }.to_custom(),
        token: 77,
    }
}

const LEDGER_1: &[u8] = include_bytes!("../../../tests/golden/metadata/ledger.v1.txt");
const LEDGER_2: &[u8] = include_bytes!("../../../tests/golden/metadata/ledger.v2.txt");
const LEDGER_3: &[u8] = include_bytes!("../../../tests/golden/metadata/ledger.v3.bin");
const COOKIE: &[u8] = include_bytes!("../../../tests/golden/metadata/cookie.v5.txt");
const OURS: &str = include_str!("../../../tests/golden/metadata/values.v1.txt");

#[test]
fn ledger_metadata_format_3_is_read_and_written() {
    assert_eq!(LedgerMetadata::decode(LedgerId(1), LEDGER_3), Ok(ledger()));
    assert_eq!(&ledger().encode()[..], LEDGER_3);
    assert!(ledger().is_log_link());
    assert_eq!(ledger().segment_of(EntryId(16)), Some(0));
    assert_eq!(ledger().segment_of(EntryId(17)), Some(1));
    assert_eq!(ledger().segment_end(0), Some(EntryId(16)));
    assert_eq!(ledger().segment_end(1), Some(EntryId(41)));
}

#[test]
fn ledger_metadata_format_2_is_read() {
    let expected = LedgerMetadata { token: 0, created_ms: Some(1_700_000_000_123), ..ledger() };
    assert_eq!(LedgerMetadata::decode(LedgerId(1), LEDGER_2), Ok(expected));
}

#[test]
fn ledger_metadata_format_1_is_read() {
    let expected = LedgerMetadata {
        ack_quorum: 3,
        digest: DigestType::Crc32,
        password: Bytes::new(),
        custom: Default::default(),
        token: 0,
        ..ledger()
    };
    assert_eq!(LedgerMetadata::decode(LedgerId(1), LEDGER_1), Ok(expected));
    let open = LEDGER_1.strip_suffix(b"41\tCLOSED").expect("how it ends");
    let open = LedgerMetadata::decode(LedgerId(1), open).expect("it is read");
    assert_eq!(open.state, State::Open);
    let recovering = [LEDGER_1.strip_suffix(b"41\tCLOSED").expect("how it ends"), b"-102\tCLOSED"].concat();
    let recovering = LedgerMetadata::decode(LedgerId(1), &recovering).expect("it is read");
    assert_eq!(recovering.state, State::InRecovery);
}

#[test]
fn an_open_ledger_is_written_as_apaches_client_writes_it() {
    let open = LedgerMetadata {
        ensemble_size: 1,
        write_quorum: 1,
        ack_quorum: 1,
        state: State::Open,
        segments: vec![Segment { first: EntryId(0), ensemble: "h:1".parse().into_iter().collect() }],
        custom: Default::default(),
        password: Bytes::new(),
        token: 0,
        ..ledger()
    };
    // 1, 2, 3, 4 (-1), 5, 6 {1, 2}, 7, 8, 9, 12.
    let body = b"\x08\x01\x10\x01\x18\x00\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x28\x01\
        \x32\x07\x0a\x03h:1\x10\x00\x38\x03\x42\x00\x48\x01\x60\x00";
    let expected = [&b"BookieMetadataFormatVersion\t3\n"[..], &[body.len() as u8], body].concat();
    assert_eq!(open.encode(), expected);
    assert_eq!(LedgerMetadata::decode(LedgerId(1), &expected), Ok(open));
}

type Change = fn(&mut LedgerMetadata);

#[test]
fn what_readers_rely_on_is_checked() {
    let changes: [(Change, &str); 5] = [
        (|l| l.ack_quorum = 0, "quorums"),
        (|l| l.write_quorum = 4, "quorums"),
        (|l| l.segments.truncate(0), "no segment"),
        (|l| l.segments.swap(0, 1), "ascending"),
        (|l| l.segments[1].ensemble.truncate(2), "2 bookies instead of 3"),
    ];
    for (change, why) in changes {
        let mut wrong = ledger();
        change(&mut wrong);
        let told = LedgerMetadata::decode(LedgerId(9), &wrong.encode()).map_err(|error| error.to_string());
        assert!(matches!(&told, Err(text) if text.contains(why) && text.contains("ledger 9")), "{told:?}");
    }
    let later = b"BookieMetadataFormatVersion\t4\nx";
    let told = LedgerMetadata::decode(LedgerId(9), later).map_err(|error| error.to_string());
    assert!(matches!(&told, Err(text) if text.contains("'4'")), "{told:?}");
}

#[test]
fn a_cookie_of_apaches_bookie_is_read_and_written() {
    let cookie = Cookie::decode("b1:3181", COOKIE).expect("it is read");
    assert_eq!((cookie.bookie.as_str(), cookie.ledger_dirs.len()), ("b1:3181", 2));
    assert_eq!(cookie.encode().as_bytes(), COOKIE);
}

/// The lines of a file of keys with values in hexadecimal digits.
fn keys_in_hex(text: &'static str) -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let byte = |pair: &[u8]| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).expect("two digits");
    let lines = text.lines().filter_map(|line| line.split_once(' ')).filter(|(key, _)| key.starts_with('/'));
    lines.map(move |(key, hex)| (key, hex.as_bytes().chunks(2).map(byte).collect()))
}

#[test]
fn what_apache_wrote_is_read_and_would_be_written_the_same() {
    let scope = Scope::new("/ledgers").expect("a scope");
    let mut seen = 0;
    for (key, value) in keys_in_hex(include_str!("../../../tests/golden/ledger-metadata-apache-4.17.2.txt")) {
        let id = scope.ledger_of(key).expect("a ledger's key");
        let metadata = LedgerMetadata::decode(id, &value).expect("it is read");
        assert_eq!((scope.ledger(id), metadata.encode().to_vec()), (key.to_owned(), value));
        seen += 1;
    }
    assert_eq!(seen, 5);
    for (key, value) in keys_in_hex(include_str!("../../../tests/golden/bookie-keys-apache-4.17.2.txt")) {
        if let Some(bookie) = scope.bookie_of(key, "cookies/") {
            let cookie = Cookie::decode(key, &value).expect("it is read");
            assert_eq!((cookie.encode().as_bytes(), &cookie.bookie), (&value[..], &bookie));
            seen += 1;
        }
    }
    assert_eq!(seen, 6);
}

#[tokio::test(start_paused = true)]
async fn a_new_cluster_has_the_keys_of_apaches_initnewcluster() {
    let scope = Scope::new("/ledgers").expect("a scope");
    let disk = disk::simulated::Device::new(1, 64 << 20).mount();
    let store = crate::embedded::Embedded::open(disk, Default::default()).expect("it opens");
    let instance = "a507448e-3666-464e-96dd-ef7d30f8d604";
    crate::cluster::init(&*store, &scope, instance).await.expect("it formats");
    let page = crate::Store::range(&*store, "", None, 100).await.expect("a range");
    let ours: Vec<_> = page.entries.into_iter().map(|entry| (entry.key, entry.value.to_vec())).collect();
    let theirs = keys_in_hex(include_str!("../../../tests/golden/key-space-apache-4.17.2.txt"));
    assert_eq!(ours, theirs.map(|(key, value)| (key.to_owned(), value)).collect::<Vec<_>>());
}

#[test]
fn our_own_values_are_read_and_written() {
    let bookie = "b1:3181".parse().expect("an id");
    let mut task = LedgerTask::of(&bookie, TaskReason::Missing, vec![(3, 9)]);
    (task.attempts, task.last_error, task.copied) = (2, "no source".into(), 5);
    let published = Published {
        address: "10.0.0.1:3181".into(),
        zone: "z1".into(),
        incarnation: 12,
        http: Some("10.0.0.1:8080".into()),
        free_bytes: 10,
        total_bytes: 100,
        short: false,
        written_per_second: None,
    };
    let loaded = Published { written_per_second: Some(1 << 20), ..published.clone() };
    let owner = Owner { epoch: 7, name: "broker-1".into(), token: u64::MAX };
    let link = Link { ledger: LedgerId(5), epoch: 7, end: Some(99), sparse: None };
    let sparse = Link { end: None, sparse: Some(12), ..link.clone() };
    let checkpoint = Checkpoint { ledger: LedgerId(6), entry: 3, position: 88, epoch: 7 };
    let leader = Leader { name: "b1:3181".into(), epoch: 4 };
    let ready = Ready { epoch: 7 };
    let gone = Gone { replacement: Some("b4:3181".into()) };
    let risk = AtRisk { bookies: vec!["b1:3181".into()], log: "broker-0".into() };
    let claim = Claim { broker: "10.0.0.1:10911".into(), token: 9, machine: String::new() };
    let count = VirtualBrokers { count: 8 };
    let clock = Clock { wall: 1_700_000_000_000, doubt: "it jumped".into() };
    let written = [
        owner.encode(),
        link.encode(),
        ready.encode(),
        checkpoint.encode(),
        published.encode(),
        task.encode(),
        leader.encode(),
        gone.encode(),
        risk.encode(),
        claim.encode(),
        count.encode(),
        clock.encode(),
        sparse.encode(),
        loaded.encode(),
    ];
    let golden: Vec<&str> = OURS.lines().collect();
    assert_eq!(written.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect::<Vec<_>>(), golden);
    let lines: Vec<&[u8]> = golden.iter().map(|line| line.as_bytes()).collect();
    assert_eq!(Owner::decode("v", lines[0]), Ok(owner));
    assert_eq!(Link::decode("v", lines[1]), Ok(link));
    assert_eq!(Ready::decode("v", lines[2]), Ok(ready));
    assert_eq!(Checkpoint::decode("v", lines[3]), Ok(checkpoint));
    assert_eq!(Published::decode(&bookie, lines[4]), Ok(published));
    assert_eq!(LedgerTask::decode(LedgerId(1), lines[5]), Ok(task));
    assert_eq!(Leader::decode("auditor", lines[6]), Ok(leader));
    assert_eq!(Gone::decode(&bookie, lines[7]), Ok(gone));
    assert_eq!(AtRisk::decode(LedgerId(1), lines[8]), Ok(risk));
    assert_eq!(Claim::decode(0, lines[9]), Ok(claim));
    assert_eq!(VirtualBrokers::decode(lines[10]), Ok(count));
    assert_eq!(Clock::decode("bookie-b1:3181", lines[11]), Ok(clock));
    assert_eq!(Link::decode("v", lines[12]), Ok(sparse));
    assert_eq!(Published::decode(&bookie, lines[13]), Ok(loaded));
    // A field that a later release added is no reason to refuse.
    assert_eq!(Ready::decode("v", br#"{"v":1,"epoch":7,"later":true}"#), Ok(Ready { epoch: 7 }));
}

proptest! {
    #[test]
    fn fuzz_ledger_metadata_is_refused_or_read(bytes: Vec<u8>, version in "[1-4]") {
        let _ = LedgerMetadata::decode(LedgerId(1), &bytes);
        let head = format!("BookieMetadataFormatVersion\t{version}\n").into_bytes();
        let _ = LedgerMetadata::decode(LedgerId(1), &[&head[..], &bytes[..]].concat());
        if let Some(len) = u8::try_from(bytes.len()).ok().filter(|len| *len < 128) {
            let _ = LedgerMetadata::decode(LedgerId(1), &[&head[..], &[len], &bytes[..]].concat());
        }
    }

    #[test]
    fn fuzz_nearly_right_ledger_metadata_is_refused_or_read(at: prop::sample::Index, byte: u8, which in 0usize..3) {
        let mut bytes = [LEDGER_1, LEDGER_2, LEDGER_3][which].to_vec();
        *at.get_mut(&mut bytes) = byte;
        let _ = LedgerMetadata::decode(LedgerId(1), &bytes);
    }

    #[test]
    fn fuzz_our_values_are_refused_or_read(text in "\\PC*") {
        let _ = Owner::decode("v", text.as_bytes());
        let _ = LedgerTask::decode(LedgerId(1), text.as_bytes());
    }
}
