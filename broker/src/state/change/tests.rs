use proptest::prelude::*;

use super::*;

const GOLDEN: &str = include_str!("../../../../tests/golden/broker/change.v1.txt");

/// One of every kind, with every optional part.
fn samples() -> Vec<Change> {
    let mut topic = Topic::new(TopicId(300), "orders", 8, 6);
    topic.attributes.insert("message.type".into(), "FIFO".into());
    topic.order = true;
    let mut group = Group::new("g");
    group.retry_policy = Some("{\"type\":\"EXPONENTIAL\"}".into());
    group.retry_max = -1;
    let commit =
        |group: &str, queue, offset| Commit { group: group.into(), topic: TopicId(300), queue, offset };
    let (group_name, client): (Arc<str>, Arc<str>) = ("g".into(), "10.0.0.1@7".into());
    vec![
        Change::Topic(topic),
        Change::TopicDeleted(TopicId(300)),
        Change::Group(group),
        Change::GroupDeleted { group: "g".into(), offsets: true },
        Change::Offsets(vec![commit("g", 0, 5), commit("g", 7, i64::MAX), commit("h", 0, -1)]),
        Change::Setting { key: "traceOn".into(), value: Some("false".into()) },
        Change::Setting { key: "traceOn".into(), value: None },
        Change::Delivered { level: 18, next: 1 << 40 },
        Change::Decided { half: 9 },
        Change::Checked { half: 9, times: 3, due: 1_700_000_000_000 },
        Change::Joined { group: group_name.clone(), client: client.clone() },
        Change::Left { group: group_name.clone(), client: client.clone() },
        Change::Locked {
            group: group_name.clone(),
            client: client.clone(),
            queues: vec![(TopicId(300), 0), (TopicId(2), 65_535)],
        },
        Change::Unlocked { group: group_name, client, queues: vec![] },
        Change::Half(Half { offset: 9, position: u64::MAX, len: 1_000, stored_at: -1, checks: 2, due: 77 }),
        Change::Counters(Counters {
            next_topic: 301,
            topics: Version { counter: 12, changed_at: 1_700_000_000_000 },
            groups: Version { counter: 1, changed_at: 0 },
        }),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

#[test]
fn changes_are_written_as_the_golden_file_says_and_read_back() {
    let written: Vec<String> = samples().iter().map(|change| hex(&change.encode())).collect();
    assert_eq!(written, GOLDEN.lines().collect::<Vec<_>>(), "in order:\n{}", written.join("\n"));
    let read: Result<Vec<Change>, Corrupt> =
        GOLDEN.lines().map(|line| Change::decode(&unhex(line))).collect();
    assert_eq!(read, Ok(samples()));
}

#[test]
fn a_change_that_is_cut_or_longer_is_refused() {
    for change in samples() {
        let bytes = change.encode();
        for len in 0..bytes.len() {
            assert!(Change::decode(&bytes[..len]).is_err(), "{change:?} cut to {len}");
        }
        assert!(Change::decode(&[&bytes[..], b"x"].concat()).is_err());
    }
}

#[test]
fn an_unknown_version_or_kind_says_so() {
    let text = |bytes: &[u8]| Change::decode(bytes).map_err(|error| error.to_string()).unwrap_err();
    assert!(text(&[2, 8, 0]).contains("version is 2"));
    assert!(text(&[1, 200]).contains("kind 200"));
}

proptest! {
    #[test]
    fn fuzz_a_change(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Change::decode(&bytes);
    }

    #[test]
    fn fuzz_a_damaged_change(which in 0usize..16, at in 0usize..100, to: u8) {
        let mut bytes = samples()[which].encode().to_vec();
        let at = at % bytes.len();
        bytes[at] = to;
        let _ = Change::decode(&bytes);
    }
}
