//! What requests are answered.

use protocol::bookie::{Answer, Refusal, Request};
use protocol::entry::MasterKey;
use protocol::{EntryId, LedgerId};

use super::harness::*;
use crate::shelf::{Order, Staged};

#[test]
fn entries_are_read_back() {
    let mut it = Machine::new(1).start();
    assert!(it.report.empty && !it.report.limbo);
    assert_eq!(it.ask(read(1, 0)), refused(Refusal::NoLedger));
    assert_eq!(it.ask(add(1, 0, 100)), ADDED);
    assert_eq!(it.ask(add(1, 1, 3000)), ADDED);
    assert_eq!(it.ask(read(1, 0)), entry(1, 0, 100));
    assert_eq!(it.ask(read(1, 1)), entry(1, 1, 3000));
    assert_eq!(it.ask(read(1, 2)), refused(Refusal::NoEntry));
    assert_eq!(it.ask(read(1, -1)), entry(1, 1, 3000));
}

#[test]
fn nothing_is_answered_before_the_commit() {
    let mut it = Machine::new(1).start();
    let added = it.stage(add(1, 0, 100));
    let fenced = it.stage(fence(2, -1));
    assert_eq!((added.get(), fenced.get()), (None, None));
    assert_eq!(it.reader.serve(&read(1, 0)), Err(Refusal::NoLedger));
    assert!(it.commit());
    assert_eq!((added.get(), fenced.get()), (ADDED, refused(Refusal::NoEntry)));
}

#[test]
fn a_fence_refuses_writers_and_not_recovery() {
    let mut it = Machine::new(1).start();
    assert_eq!(it.ask(add(1, 0, 10)), ADDED);
    let fenced = it.stage(fence(1, 1));
    let late = it.stage(add(1, 1, 10));
    assert!(it.commit());
    assert_eq!(fenced.get(), refused(Refusal::NoEntry));
    assert_eq!(late.get(), refused(Refusal::Fenced));
    assert_eq!(it.ask(recovery_add(1, 1, 10)), ADDED);
    assert_eq!(it.ask(fence(1, 1)), entry(1, 1, 10));
}

#[test]
fn an_unknown_ledger_can_be_fenced() {
    let mut it = Machine::new(1).start();
    assert_eq!(it.ask(fence(9, -1)), refused(Refusal::NoEntry));
    assert_eq!(it.ask(add(9, 0, 10)), refused(Refusal::Fenced));
}

#[test]
fn a_wrong_key_is_refused() {
    let mut it = Machine::new(1).start();
    assert_eq!(it.ask(add(1, 0, 10)), ADDED);
    let Request::Add { ledger, entry, body, options, .. } = add(1, 1, 10) else { unreachable!() };
    let wrong = MasterKey::of(b"wrong");
    assert_eq!(
        it.ask(Request::Add { ledger, entry, key: wrong, body, options }),
        refused(Refusal::Unauthorized)
    );
    let options = protocol::bookie::ReadOptions { fence: Some(wrong), ..Default::default() };
    assert_eq!(it.ask(Request::Read { ledger, entry, options }), refused(Refusal::Unauthorized));
    assert_eq!(it.ask(add(1, 1, 10)), ADDED);
}

#[test]
fn senseless_requests_are_refused() {
    let mut it = Machine::new(1).start();
    let Request::Add { ledger, key, body, options, .. } = add(1, 1, 10) else { unreachable!() };
    let other = Request::Add { ledger, entry: EntryId(2), key, body: body.clone(), options };
    assert_eq!(it.ask(other), refused(Refusal::BadRequest));
    assert_eq!(it.ask(add(-1, 0, 10)), refused(Refusal::BadRequest));
    assert_eq!(it.ask(add(1, -1, 10)), refused(Refusal::BadRequest));
    assert_eq!(it.ask(read(1, -2)), refused(Refusal::BadRequest));
    assert_eq!(it.ask(add(1, 0, 20_000)), refused(Refusal::BadRequest));
    let short =
        Request::Add { ledger, entry: EntryId(1), key, body: body.joined().slice(..20).into(), options };
    assert_eq!(it.ask(short), refused(Refusal::BadRequest));
}

#[test]
fn a_normal_add_to_a_ledger_known_only_by_repair_is_a_stranger() {
    let mut it = Machine::new(1).start();
    assert_eq!(it.ask(recovery_add(1, 0, 10)), ADDED);
    assert!(matches!(it.shelf.stage(add(1, 1, 10), Noted::default()), Staged::Stranger(..)));
    assert_eq!(it.ask(add(1, 1, 10)), ADDED);
    assert!(matches!(it.shelf.stage(add(1, 2, 10), Noted::default()), Staged::Taken));
}

#[test]
fn the_same_add_twice_is_stored_once() {
    let mut it = Machine::new(1).start();
    assert_eq!(it.ask(add(1, 0, 1000)), ADDED);
    let used = it.shelf.segments();
    assert_eq!(it.ask(add(1, 0, 1000)), ADDED);
    assert_eq!(it.shelf.segments(), used);
    let (first, second) = (it.stage(add(1, 1, 1000)), it.stage(add(1, 1, 1000)));
    assert!(it.commit());
    assert_eq!((first.get(), second.get()), (ADDED, ADDED));
    assert_eq!(it.ask(read(1, 1)), entry(1, 1, 1000));
}

#[test]
fn explicit_lacs_are_kept_and_do_not_go_back() {
    let mut it = Machine::new(1).start();
    let write = |lac: i64, packet: &'static [u8]| Request::WriteLac {
        ledger: LedgerId(1),
        lac: EntryId(lac),
        key: key(),
        packet: packet.into(),
    };
    assert_eq!(it.ask(add(1, 0, 10)), ADDED);
    assert_eq!(it.ask(write(5, b"five")), Some(Ok(Answer::LacWritten)));
    assert_eq!(it.ask(write(3, b"three")), Some(Ok(Answer::LacWritten)));
    let lac = Answer::Lac { packet: Some(b"five".as_slice().into()), last_entry: Some(body(1, 0, 10)) };
    assert_eq!(it.ask(Request::ReadLac { ledger: LedgerId(1) }), Some(Ok(lac)));
    assert_eq!(it.reader.max_lac(LedgerId(1)), EntryId(5));
}

#[test]
fn batches_stop_at_the_first_hole() {
    let mut it = Machine::new(1).start();
    for i in (0..40).chain(41..50) {
        assert_eq!(it.ask(add(1, i, 300)), ADDED);
        assert_eq!(it.ask(add(2, i, 50)), ADDED);
    }
    let batch = |first: i64, max_count: u32, max_bytes: u64| Request::BatchRead {
        ledger: LedgerId(1),
        first: EntryId(first),
        max_count,
        max_bytes,
        options: Default::default(),
    };
    let bodies =
        |ids: std::ops::Range<i64>| Some(Ok(Answer::Entries(ids.map(|i| body(1, i, 300)).collect())));
    assert_eq!(it.ask(batch(0, 0, 1 << 20)), bodies(0..40));
    assert_eq!(it.ask(batch(41, 0, 1 << 20)), bodies(41..50));
    assert_eq!(it.ask(batch(3, 5, 1 << 20)), bodies(3..8));
    assert_eq!(it.ask(batch(3, 0, 1)), bodies(3..4));
    assert_eq!(it.ask(batch(3, 0, 2 * (36 + 300 + 4))), bodies(3..5));
    assert_eq!(it.ask(batch(40, 0, 1 << 20)), refused(Refusal::NoEntry));
    let list = Answer::List([(EntryId(0), EntryId(39)), (EntryId(41), EntryId(49))].into_iter().collect());
    assert_eq!(it.ask(Request::ListEntries { ledger: LedgerId(1) }), Some(Ok(list)));
    for i in 0..40 {
        assert_eq!(it.ask(read(1, i)), entry(1, i, 300), "sequential read of {i}");
    }
}

#[test]
fn ranges_are_cut_from_entries() {
    let mut it = Machine::new(1).start();
    assert_eq!(it.ask(add(1, 0, 1000)), ADDED);
    let range = |from, len| Request::ReadRange { ledger: LedgerId(1), entry: EntryId(0), from, len };
    let body = body(1, 0, 1000);
    assert_eq!(it.ask(range(10, 20)), Some(Ok(Answer::Range(body.slice(10..30)))));
    assert_eq!(it.ask(range(1000, 5000)), Some(Ok(Answer::Range(body.slice(1000..)))));
    assert_eq!(it.ask(range(9000, 10)), Some(Ok(Answer::Range(Default::default()))));
}

#[test]
fn a_deleted_ledger_is_gone_until_it_is_repaired() {
    let mut it = Machine::new(1).start();
    for i in 0..10 {
        assert_eq!(it.ask(add(1, i, 100)), ADDED);
    }
    it.shelf.order(Order::Delete(LedgerId(1))).unwrap();
    assert!(it.commit());
    assert_eq!(it.ask(read(1, 3)), refused(Refusal::NoLedger));
    assert_eq!(it.ask(read(1, -1)), refused(Refusal::NoLedger));
    assert_eq!(it.ask(add(1, 10, 100)), refused(Refusal::Fenced));
    assert_eq!(it.ask(recovery_add(1, 3, 100)), refused(Refusal::TooManyRequests));
    it.shelf.flush_now().unwrap();
    assert_eq!(it.ask(recovery_add(1, 3, 100)), ADDED);
    assert_eq!(it.ask(read(1, 3)), entry(1, 3, 100));
    assert_eq!(it.ask(read(1, 2)), refused(Refusal::NoEntry));
    assert_eq!(it.ask(add(1, 10, 100)), refused(Refusal::Fenced));
}

#[test]
fn limbo_says_unknown_and_fences() {
    let mut it = Machine::new(1).start();
    assert_eq!(it.ask(add(1, 0, 100)), ADDED);
    it.shelf.order(Order::LimboAll).unwrap();
    assert!(it.commit());
    assert_eq!(it.ask(read(1, 5)), refused(Refusal::Unknown));
    assert_eq!(it.ask(read(1, -1)), refused(Refusal::Unknown));
    assert_eq!(it.ask(read(2, 0)), refused(Refusal::Unknown));
    assert_eq!(it.ask(read(1, 0)), entry(1, 0, 100));
    assert_eq!(it.ask(add(1, 1, 100)), refused(Refusal::Fenced));
    assert_eq!(it.ask(fence(4, 0)), refused(Refusal::Unknown));
    it.shelf.order(Order::Limbo(LedgerId(3))).unwrap();
    it.shelf.order(Order::ClearLimboAll).unwrap();
    assert!(it.commit());
    assert_eq!(it.ask(read(3, 0)), refused(Refusal::Unknown));
    assert_eq!(it.ask(add(3, 0, 100)), refused(Refusal::Fenced));
    // What was here, or was heard of meanwhile, is looked at one by one.
    assert_eq!(it.ask(read(1, 5)), refused(Refusal::Unknown));
    assert_eq!(it.ask(add(1, 1, 100)), refused(Refusal::Fenced));
    assert_eq!(it.ask(read(4, 0)), refused(Refusal::Unknown));
    assert_eq!(it.ask(read(5, 0)), refused(Refusal::NoLedger));
    for ledger in [1, 3, 4] {
        it.shelf.order(Order::ClearLimbo(LedgerId(ledger))).unwrap();
        assert!(it.commit());
        assert_eq!(it.ask(read(ledger, 5)), refused(Refusal::NoEntry));
        assert_eq!(it.ask(add(ledger, 1, 100)), refused(Refusal::Fenced));
    }
}
