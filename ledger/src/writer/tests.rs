use std::collections::BTreeSet;

use proptest::prelude::*;
use protocol::entry::DigestType;

use super::*;
use crate::Error;

fn target(e: u32, w: u32, a: u32) -> Target {
    let bookie = |i| format!("b{i}:3181").parse().unwrap_or_else(|_| unreachable!("a good id"));
    Target {
        ledger: LedgerId(5),
        quorums: Quorums::new(e, w, a).unwrap_or_else(|_| unreachable!("good quorums")),
        ensemble: (0..e).map(bookie).collect(),
        absent: Members::NONE,
        key: MasterKey::of(b""),
        digest: Digest::new(DigestType::Crc32c, b""),
        first: EntryId::FIRST,
        length: 0,
    }
}

struct Bench {
    writer: Writer,
    out: Vec<Outgoing>,
    now: Duration,
}

impl Bench {
    fn new(e: u32, w: u32, a: u32) -> Bench {
        Bench::of(target(e, w, a))
    }

    fn of(target: Target) -> Bench {
        Bench { writer: Writer::new(target, Patience::default()), out: Vec::new(), now: Duration::ZERO }
    }

    fn add(&mut self, payload: &'static str) -> Vec<usize> {
        self.out.clear();
        let entry = self.writer.add(b"", Bytes::from_static(payload.as_bytes()), self.now, &mut self.out);
        assert!(self.out.iter().all(|o| Some(o.entry) == entry));
        let mut members: Vec<_> = self.out.iter().map(|o| o.index).collect();
        members.sort();
        members
    }

    fn ok(&mut self, index: usize, entry: i64) -> i64 {
        self.reply(index, entry, Ok(Answer::Added))
    }

    fn fail(&mut self, index: usize, entry: i64, refusal: Refusal) -> i64 {
        self.reply(index, entry, Err(Failure::Refused(refusal)))
    }

    fn reply(&mut self, index: usize, entry: i64, reply: Reply) -> i64 {
        self.writer.answered(index, EntryId(entry), reply);
        self.writer.acknowledged().last.0
    }

    fn trouble(&self) -> Option<&Trouble> {
        self.writer.trouble()
    }
}

#[test]
fn entries_go_to_their_write_sets_with_ids_length_and_lac() -> Result<(), protocol::entry::Damage> {
    let mut bench = Bench::new(3, 2, 1);
    assert_eq!(bench.add("one"), [0, 1]);
    bench.ok(0, 0);
    assert_eq!(bench.add("three"), [1, 2]);
    let Request::Add { ledger, entry, body, options, .. } = &bench.out[1].request else { panic!("an add") };
    assert_eq!((*ledger, *entry, *options), (LedgerId(5), EntryId(1), AddOptions::default()));
    let digest = Digest::new(DigestType::Crc32c, b"");
    let (header, payload) = digest.open(LedgerId(5), EntryId(1), &body.joined())?;
    assert_eq!((header.lac, header.length, payload), (EntryId(0), 8, Bytes::from_static(b"three")));
    Ok(())
}

#[test]
fn acknowledgements_need_an_ack_quorum_and_keep_the_order() {
    let mut bench = Bench::new(3, 3, 2);
    bench.add("a");
    bench.add("b");
    assert_eq!(bench.ok(0, 1), -1);
    assert_eq!(bench.ok(1, 1), -1, "entry 1 is complete, but comes after 0");
    assert_eq!(bench.ok(1, 0), -1);
    assert_eq!(bench.ok(1, 0), -1, "the same bookie twice is one bookie");
    assert_eq!(bench.ok(2, 0), 1);
    assert_eq!(bench.writer.acknowledged().length, 2);
    assert_eq!(bench.trouble(), None);
}

#[test]
fn a_lost_bookie_is_told_at_once_and_gets_nothing_more() {
    let mut bench = Bench::new(3, 3, 2);
    bench.add("a");
    bench.fail(2, 0, Refusal::ReadOnly);
    assert!(matches!(bench.trouble(), Some(Trouble::Lost(b, _)) if b.as_str() == "b2:3181"));
    assert_eq!(bench.add("b"), [0, 1]);
    bench.ok(0, 0);
    assert_eq!(bench.ok(1, 0), 0, "acknowledged while the ack quorum answers");
    bench.ok(0, 1);
    assert_eq!(bench.ok(1, 1), 1);
    let lacks = vec![("b2:3181".parse().unwrap(), vec![(EntryId(0), EntryId(1))])];
    assert_eq!(bench.writer.missing(), lacks);
    assert!(bench.writer.is_settled());
    bench.reply(1, 7, Err(Failure::Unreachable));
    assert_eq!(bench.trouble().map(Trouble::is_fatal), Some(false));
    bench.add("c");
    bench.reply(1, 2, Err(Failure::Unreachable));
    assert!(matches!(bench.trouble(), Some(Trouble::Stuck(why)) if why.contains("b1:3181")));
}

#[test]
fn an_absent_member_is_left_out_from_the_beginning() {
    let mut bench = Bench::of(Target { absent: [1].into_iter().collect(), ..target(3, 3, 2) });
    assert_eq!(bench.add("a"), [0, 2]);
    bench.ok(0, 0);
    assert_eq!(bench.ok(2, 0), 0);
    assert_eq!(bench.trouble(), None);
    assert_eq!(bench.writer.missing().len(), 1);
}

#[test]
fn after_a_fenced_add_nothing_is_acknowledged() {
    let mut bench = Bench::new(3, 3, 2);
    bench.add("a");
    bench.add("b");
    bench.ok(0, 0);
    bench.ok(1, 0);
    bench.fail(2, 1, Refusal::Fenced);
    bench.ok(0, 1);
    assert_eq!(bench.ok(1, 1), 0);
    assert!(bench.trouble().is_some_and(Trouble::is_fatal));
    assert_eq!(bench.writer.add(b"", Bytes::new(), Duration::ZERO, &mut bench.out), None);
    assert_eq!(bench.writer.next_entry(), EntryId(2), "no id is used");
    assert_eq!(bench.writer.freeze(), End { last: EntryId(0), length: 1 });
}

#[test]
fn late_bookies_are_slow_then_lost() {
    let mut bench = Bench::new(3, 3, 2);
    bench.add("a");
    bench.ok(0, 0);
    bench.ok(1, 0);
    bench.writer.tick(Duration::from_millis(400));
    assert_eq!(bench.trouble(), None);
    bench.writer.tick(Duration::from_millis(600));
    assert!(matches!(bench.trouble(), Some(Trouble::Slow(b)) if b.as_str() == "b2:3181"));
    assert!(bench.writer.is_waiting() && !bench.writer.is_settled());
    bench.writer.tick(Duration::from_secs(3));
    assert!(matches!(bench.trouble(), Some(Trouble::Lost(..))));
    assert!(!bench.writer.is_waiting());
}

#[test]
fn bookies_that_are_all_late_are_not_called_slow() {
    let mut bench = Bench::new(3, 3, 2);
    bench.add("a");
    bench.writer.tick(Duration::from_secs(1));
    assert_eq!(bench.trouble(), None);
    bench.writer.tick(Duration::from_secs(3));
    assert!(matches!(bench.trouble(), Some(Trouble::Stuck(_))));
}

#[test]
fn who_owes_too_much_gets_no_more_copies() {
    let patience = Patience { owed_bytes: 1000, ..Patience::default() };
    let mut bench = Bench::new(3, 3, 2);
    bench.writer = Writer::new(target(3, 3, 2), patience);
    for entry in 0..3 {
        assert_eq!(bench.add("0123456789"), [0, 1, 2]);
        bench.ok(0, entry);
        bench.ok(1, entry);
    }
    assert_eq!(bench.trouble(), None);
    bench.add("0123456789");
    bench.ok(0, 3);
    bench.ok(1, 3);
    assert!(matches!(bench.trouble(), Some(Trouble::Slow(_))), "4 times 266 bytes are more than 1000");
    assert_eq!(bench.add("0123456789"), [0, 1]);
    bench.ok(2, 0);
    assert_eq!(bench.writer.in_flight_bytes(), 10);
}

#[test]
fn ids_beyond_32_bits_are_acknowledged() -> Result<(), Error> {
    let first = EntryId((1 << 32) - 2);
    let mut bench = Bench::of(Target { first, length: 77, ..target(3, 2, 2) });
    for entry in first.0..first.0 + 4 {
        for index in bench.add("x") {
            bench.ok(index, entry);
        }
        assert_eq!(bench.writer.acknowledged().last, EntryId(entry));
    }
    assert_eq!(bench.writer.acknowledged().length, 81);
    Ok(())
}

proptest! {
    /// Whatever answers in whatever order: what is acknowledged is a prefix, each of it on an ack quorum, and what is
    /// reported missing is all that is missing.
    #[test]
    fn acknowledged_is_a_prefix_on_ack_quorums(
        (e, w, a) in (1u32..6).prop_flat_map(|e| (1..=e).prop_flat_map(move |w| (1..=w).prop_map(move |a| (e, w, a)))),
        order in prop::collection::vec((any::<prop::sample::Index>(), 0u8..20), 0..120),
    ) {
        let mut bench = Bench::new(e, w, a);
        let mut open = Vec::new();
        let mut have = BTreeSet::new();
        let mut next = 0;
        for (pick, kind) in order {
            if kind < 6 || open.is_empty() {
                open.extend(bench.add("payload").into_iter().map(|index| (index, next)));
                next += 1;
                continue;
            }
            let (index, entry) = open.swap_remove(pick.index(open.len()));
            if kind == 19 {
                bench.fail(index, entry, Refusal::Io);
            } else {
                have.insert((index, entry));
                bench.ok(index, entry);
            }
            let last = bench.writer.acknowledged().last.0;
            prop_assert_eq!(bench.writer.acknowledged().length, (last + 1) * 7);
            for acked in 0..=last {
                prop_assert!(have.iter().filter(|(_, e)| *e == acked).count() >= a as usize);
            }
        }
        let last = bench.writer.freeze().last.0;
        let q = bench.writer.target().quorums;
        let missing = bench.writer.missing();
        for entry in (0..=last).map(EntryId) {
            for index in q.write_set(entry) {
                let bookie = &bench.writer.target().ensemble[index];
                let runs = missing.iter().find(|(b, _)| b == bookie).map(|(_, runs)| runs.as_slice());
                let told = runs.unwrap_or_default().iter().any(|(f, l)| (*f..=*l).contains(&entry));
                prop_assert!(told || have.contains(&(index, entry.0)));
            }
        }
    }
}
