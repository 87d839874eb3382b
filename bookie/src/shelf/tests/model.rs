//! Random requests, flushes, compactions, kills and power failures, compared with what was promised.

use std::collections::{BTreeMap, BTreeSet};

use disk::simulated::{Call, Fault};
use proptest::prelude::*;
use protocol::bookie::{Answer, Outcome, Refusal, Request};
use protocol::{EntryId, LedgerId};

use super::harness::*;
use crate::shelf::{Flush, Order};

const LEDGERS: i64 = 5;

#[derive(Clone, Debug)]
enum Op {
    /// `back`: 0 for the next entry, else one that was added before.
    Add {
        ledger: i64,
        back: i64,
        recovery: bool,
        deferred: bool,
    },
    Fence(i64),
    Lac(i64),
    Force(i64),
    Commit,
    BeginFlush,
    FinishFlush,
    Flush,
    /// Empties and drops the n-th sealed segment.
    Compact(usize),
    /// Drops all segments in which nothing is live.
    DropDead,
    Delete(i64),
    Kill,
    Power(u64),
    /// The n-th sync from now fails; the machine goes on.
    SyncFails(u64),
    /// The power fails during the n-th call from now.
    PowerAt(u64, u64),
    LoseIndex,
    Close,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let ledger = 0..LEDGERS;
    let op = prop_oneof![
        30 => (ledger.clone(), prop_oneof![8 => Just(0), 1 => 1..20i64], prop::bool::weighted(0.1), prop::bool::weighted(0.1))
            .prop_map(|(ledger, back, recovery, deferred)| Op::Add { ledger, back, recovery, deferred }),
        2 => ledger.clone().prop_map(Op::Fence),
        2 => ledger.clone().prop_map(Op::Lac),
        1 => ledger.clone().prop_map(Op::Force),
        15 => Just(Op::Commit),
        2 => Just(Op::BeginFlush),
        2 => Just(Op::FinishFlush),
        2 => Just(Op::Flush),
        3 => (0..4usize).prop_map(Op::Compact),
        1 => Just(Op::DropDead),
        1 => ledger.prop_map(Op::Delete),
        1 => Just(Op::Kill),
        1 => any::<u64>().prop_map(Op::Power),
        1 => (0..10u64).prop_map(Op::SyncFails),
        2 => (0..30u64, any::<u64>()).prop_map(|(calls, dice)| Op::PowerAt(calls, dice)),
        1 => Just(Op::LoseIndex),
        1 => Just(Op::Close),
    ];
    prop::collection::vec(op, 1..150)
}

/// What is known of a ledger from outside.
#[derive(Default, Clone, Debug)]
struct Promised {
    /// Acknowledged: they must be there.
    kept: BTreeSet<i64>,
    /// They may be there.
    perhaps: BTreeSet<i64>,
    /// Acknowledged without a sync.
    written: BTreeSet<i64>,
    next: i64,
    fenced: bool,
    perhaps_fenced: bool,
    deleted: bool,
    perhaps_deleted: bool,
    lac: Option<i64>,
}

fn size_of(ledger: i64, entry: i64) -> usize {
    50 + ((ledger * 131 + entry * 377) % 1400) as usize
}

enum Waiting {
    Add { ledger: i64, entry: i64, recovery: bool, deferred: bool, fenced: bool, deleted: bool },
    Fence(i64),
    Lac(i64, i64),
    Force(i64),
}

struct Test {
    machine: Machine,
    it: Running,
    ledgers: BTreeMap<i64, Promised>,
    waiting: Vec<(Noted, Waiting)>,
    flush: Option<Flush>,
    /// The power will fail by itself; what the index keeps then.
    armed: Option<u64>,
    /// A sync will fail, or has failed.
    sync_fails: bool,
}

impl Test {
    fn new(seed: u64) -> Test {
        let mut machine = Machine::new(seed);
        let it = machine.start();
        Test {
            machine,
            it,
            ledgers: BTreeMap::new(),
            waiting: Vec::new(),
            flush: None,
            armed: None,
            sync_fails: false,
        }
    }

    fn ledger(&mut self, ledger: i64) -> &mut Promised {
        self.ledgers.entry(ledger).or_default()
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Add { ledger, back, recovery, deferred } => self.add(ledger, back, recovery, deferred),
            Op::Fence(ledger) => {
                self.ledger(ledger).perhaps_fenced = true;
                let noted = self.it.stage(fence(ledger, 10_000));
                self.waiting.push((noted, Waiting::Fence(ledger)));
            }
            Op::Lac(ledger) => {
                let promised = self.ledger(ledger);
                let lac = promised.next;
                let (ledger_id, packet) = (LedgerId(ledger), lac.to_be_bytes().to_vec().into());
                let request = Request::WriteLac { ledger: ledger_id, lac: EntryId(lac), key: key(), packet };
                let noted = self.it.stage(request);
                self.waiting.push((noted, Waiting::Lac(ledger, lac)));
            }
            Op::Force(ledger) => {
                let noted = self.it.stage(Request::Force { ledger: LedgerId(ledger) });
                self.waiting.push((noted, Waiting::Force(ledger)));
            }
            Op::Commit => self.commit(),
            Op::BeginFlush => {
                if self.flush.is_none() {
                    self.flush = self.it.shelf.begin_flush().unwrap_or(None);
                }
            }
            Op::FinishFlush => self.finish_flush(),
            Op::Flush => {
                self.finish_flush();
                let _ = self.it.shelf.flush_now();
            }
            Op::Compact(n) => self.compact(n),
            Op::DropDead => self.drop_dead(),
            Op::Delete(ledger) => self.delete(ledger),
            Op::Kill => {
                self.machine.kill();
                self.restart();
            }
            Op::Power(dice) => {
                self.machine.lose_power(dice);
                self.restart();
            }
            Op::SyncFails(calls) => {
                self.machine.device.fail(Call::Sync, calls, Fault::Io);
                self.sync_fails = true;
            }
            Op::PowerAt(calls, dice) => {
                if self.armed.is_none() {
                    self.machine.device.fail(Call::Any, calls, Fault::Power);
                    self.armed = Some(dice);
                }
            }
            Op::LoseIndex => {
                self.machine.kill();
                self.machine.index.wipe();
                self.restart();
            }
            Op::Close => self.close(),
        }
        self.settle();
        if self.it.shelf.stopped().is_some() {
            let expected = self.armed.is_some() || self.sync_fails;
            assert!(expected, "stopped for no reason: {:?}", self.it.shelf.stopped());
            self.crash();
            self.restart();
        }
    }

    fn add(&mut self, ledger: i64, back: i64, recovery: bool, deferred: bool) {
        let promised = self.ledger(ledger);
        let entry = if back == 0 { promised.next } else { (promised.next - back).max(0) };
        promised.next = promised.next.max(entry + 1);
        promised.perhaps.insert(entry);
        let (fenced, deleted) = (promised.fenced, promised.deleted && !promised.perhaps_deleted);
        // Staged, it may bring the ledger back, whatever becomes of its answer.
        promised.perhaps_deleted |= recovery && promised.deleted;
        let size = size_of(ledger, entry);
        let request = match (recovery, deferred) {
            (true, _) => recovery_add(ledger, entry, size),
            (false, true) => deferred_add(ledger, entry, size),
            (false, false) => add(ledger, entry, size),
        };
        let deferred = deferred && !recovery;
        let noted = self.it.stage(request);
        self.waiting.push((noted, Waiting::Add { ledger, entry, recovery, deferred, fenced, deleted }));
    }

    fn commit(&mut self) {
        self.it.commit();
    }

    /// Looks at all answers that have come.
    fn settle(&mut self) {
        for (noted, waiting) in std::mem::take(&mut self.waiting) {
            match noted.get() {
                None => self.waiting.push((noted, waiting)),
                Some(outcome) => self.learn(waiting, outcome),
            }
        }
    }

    fn learn(&mut self, waiting: Waiting, outcome: Outcome) {
        match waiting {
            Waiting::Add { ledger, entry, recovery, deferred, fenced, deleted } => {
                let promised = self.ledger(ledger);
                match outcome {
                    Ok(Answer::Added) => {
                        assert!(recovery || !(fenced || deleted), "a fenced ledger {ledger} took {entry}");
                        if recovery && promised.deleted {
                            (promised.deleted, promised.fenced) = (false, true);
                        }
                        promised.perhaps_fenced |= promised.perhaps_deleted;
                        promised.perhaps_deleted = false;
                        if deferred && !promised.kept.contains(&entry) {
                            promised.written.insert(entry);
                        } else {
                            promised.kept.insert(entry);
                        }
                    }
                    Err(Refusal::Fenced) => assert!(
                        promised.perhaps_fenced
                            || promised.fenced
                            || promised.deleted
                            || promised.perhaps_deleted
                    ),
                    Err(Refusal::TooManyRequests) => assert!(promised.deleted || promised.perhaps_deleted),
                    Err(Refusal::ReadOnly) => {}
                    other => panic!("an add was answered {other:?}"),
                }
            }
            Waiting::Fence(ledger) => {
                let promised = self.ledger(ledger);
                match outcome {
                    Err(Refusal::NoEntry | Refusal::NoLedger) => promised.fenced = true,
                    Err(Refusal::ReadOnly) => {}
                    other => panic!("a fence was answered {other:?}"),
                }
            }
            Waiting::Lac(ledger, lac) => {
                let promised = self.ledger(ledger);
                match outcome {
                    Ok(Answer::LacWritten) if !promised.deleted => promised.lac = promised.lac.max(Some(lac)),
                    Ok(Answer::LacWritten) | Err(Refusal::NoLedger | Refusal::ReadOnly) => {}
                    other => panic!("a LAC was answered {other:?}"),
                }
            }
            Waiting::Force(ledger) => {
                if outcome == Ok(Answer::Forced) {
                    let promised = self.ledger(ledger);
                    let written = std::mem::take(&mut promised.written);
                    promised.kept.extend(written);
                }
            }
        }
    }

    fn finish_flush(&mut self) {
        if let Some(flush) = self.flush.take() {
            let _ = self.it.shelf.finish_flush(flush.run());
        }
    }

    fn compact(&mut self, n: usize) {
        self.finish_flush();
        let Some(segment) = self.it.shelf.segments().into_iter().filter(|s| s.sealed).nth(n) else { return };
        let mut from = Some(0);
        while let Some(at) = from {
            from = self.it.shelf.copy_live(segment.segment, at, 2000).unwrap_or(None);
            self.commit();
        }
        let _ = self.it.shelf.drop_segment(segment.segment);
    }

    fn drop_dead(&mut self) {
        for segment in self.it.shelf.segments() {
            if segment.sealed && segment.live == 0 {
                let _ = self.it.shelf.drop_segment(segment.segment);
            }
        }
    }

    fn delete(&mut self, ledger: i64) {
        self.commit();
        self.settle();
        self.waiting.retain(
            |(_, waiting)| !matches!(waiting, Waiting::Force(l) | Waiting::Lac(l, _) if *l == ledger),
        );
        let ordered = self.it.shelf.order(Order::Delete(LedgerId(ledger))).is_ok();
        let done = ordered && self.it.commit();
        let promised = self.ledger(ledger);
        let kept = std::mem::take(&mut promised.kept);
        promised.written.clear();
        promised.lac = None;
        // If the ledger comes back, so may old copies that are still in some segment: an id has one value for ever.
        promised.perhaps.extend(kept);
        if done {
            (promised.deleted, promised.perhaps_deleted) = (true, false);
        } else {
            promised.perhaps_deleted = true;
        }
    }

    /// Ends the process by whatever fault is waiting.
    fn crash(&mut self) {
        match self.armed {
            Some(dice) => self.machine.lose_power(dice),
            None => self.machine.kill(),
        }
    }

    fn close(&mut self) {
        let unarmed = self.armed.is_none() && !self.sync_fails;
        self.commit();
        self.settle();
        self.finish_flush();
        if self.it.shelf.stopped().is_some() {
            return;
        }
        self.machine.config = small();
        let shelf = std::mem::replace(&mut self.it, Machine::new(0).start()).shelf;
        let closed = shelf.close();
        assert!(closed.is_ok() || !unarmed, "{closed:?}");
        if closed.is_ok() {
            for promised in self.ledgers.values_mut() {
                let written = std::mem::take(&mut promised.written);
                promised.kept.extend(written);
            }
        }
        self.crash();
        self.restart();
    }

    fn restart(&mut self) {
        self.settle();
        self.flush = None;
        self.waiting.clear();
        for promised in self.ledgers.values_mut() {
            // Acknowledged without a sync, by a process that is gone: nothing is promised.
            let written = std::mem::take(&mut promised.written);
            promised.perhaps.extend(written);
        }
        loop {
            match self.machine.try_start() {
                Ok(it) => {
                    self.it = it;
                    break;
                }
                Err(error) => {
                    assert!(self.armed.is_some() || self.sync_fails, "no start: {error}");
                    self.crash();
                    self.armed = None;
                }
            }
        }
        let report = &self.it.report;
        assert!(!report.limbo && report.damaged.is_empty() && report.missing.is_empty(), "{report:?}");
        if self.armed.is_none() {
            self.check();
        }
    }

    /// Everything that was promised holds.
    fn check(&mut self) {
        for (ledger, promised) in &self.ledgers {
            let gone = promised.deleted && !promised.perhaps_deleted;
            for entry in 0..promised.next + 2 {
                let outcome = self.it.reader.serve(&read(*ledger, entry));
                let here = outcome.as_ref().ok()
                    == super::harness::entry(*ledger, entry, size_of(*ledger, entry))
                        .and_then(Result::ok)
                        .as_ref();
                let absent = matches!(outcome, Err(Refusal::NoEntry | Refusal::NoLedger));
                let (must, may) = (promised.kept.contains(&entry), promised.perhaps.contains(&entry));
                let right = if gone {
                    absent
                } else {
                    here && (must || may || promised.written.contains(&entry)) || absent && !must
                };
                assert!(right, "ledger {ledger} entry {entry}: {outcome:?} of {promised:?}");
            }
            if !gone {
                let lac = self.it.reader.max_lac(LedgerId(*ledger));
                assert!(
                    promised.lac.is_none_or(|promised| lac.0 >= promised) || promised.perhaps_deleted,
                    "LAC {lac} of {ledger}: {promised:?}"
                );
            }
        }
    }

    /// What the shelf counts as live is what the index points at.
    fn check_usage(&mut self) {
        self.commit();
        self.settle();
        self.finish_flush();
        // Twice: what the first purges, it counts at its end.
        let _ = (self.it.shelf.flush_now(), self.it.shelf.flush_now());
        for segment in self.it.shelf.segments() {
            let held: u64 = self.it.reader.holders(segment.segment).unwrap().values().sum();
            assert_eq!(held, segment.live, "{segment:?}");
        }
    }
}

fn run(seed: u64, ops: Vec<Op>) {
    let mut test = Test::new(seed);
    for op in ops {
        test.run(op);
    }
    test.machine.device.heal();
    if test.armed.is_some() || test.sync_fails {
        test.machine.lose_power(seed);
        (test.armed, test.sync_fails) = (None, false);
        test.restart();
    }
    test.check_usage();
    test.check();
    test.machine.lose_power(seed);
    test.restart();
    test.check_usage();
    test.check();
    // Fences hold, also without an index.
    test.machine.kill();
    test.machine.index.wipe();
    test.restart();
    test.check();
    for (ledger, promised) in test.ledgers.clone() {
        if promised.fenced {
            let outcome = test.it.ask(add(ledger, promised.next, 10));
            assert_eq!(outcome, refused(Refusal::Fenced), "{ledger} {promised:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]
    #[test]
    fn what_was_promised_holds(seed: u64, ops in ops()) {
        run(seed, ops);
    }
}
