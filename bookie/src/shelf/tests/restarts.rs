//! What a new process finds.

use disk::Disk;
use disk::simulated::{Call, Fault, Snapshot};
use protocol::LedgerId;
use protocol::bookie::{Refusal, Request};

use super::harness::*;
use crate::position::Position;
use crate::shelf::{IndexFound, Order};

#[test]
fn everything_survives_a_kill_without_any_flush() {
    let mut machine = Machine::new(1);
    let mut it = machine.start();
    for i in 0..30 {
        assert_eq!(it.ask(add(1, i, 700)), ADDED);
    }
    assert_eq!(it.ask(fence(2, -1)), refused(Refusal::NoEntry));
    machine.kill();
    let mut it = machine.start();
    assert!(!it.report.limbo && !it.report.clean, "{:?}", it.report);
    for i in 0..30 {
        assert_eq!(it.ask(read(1, i)), entry(1, i, 700), "{i}");
    }
    assert_eq!(it.ask(read(1, 30)), refused(Refusal::NoEntry));
    assert_eq!(it.ask(add(2, 0, 10)), refused(Refusal::Fenced));
}

#[test]
fn what_was_acknowledged_survives_power_loss_at_any_time() {
    for seed in 0..40 {
        let mut machine = Machine::new(seed);
        let mut it = machine.start();
        for i in 0..seed as i64 {
            assert_eq!(it.ask(add(1, i, 700)), ADDED);
            if i % 7 == 3 {
                it.shelf.flush_now().unwrap();
            }
        }
        let _ = it.stage(add(1, seed as i64, 700));
        machine.lose_power(seed);
        let mut it = machine.start();
        assert!(!it.report.limbo, "{:?}", it.report);
        for i in 0..seed as i64 {
            assert_eq!(it.ask(read(1, i)), entry(1, i, 700), "seed {seed} entry {i}");
        }
    }
}

#[test]
fn a_lost_index_is_rebuilt_from_the_segments() {
    let mut machine = Machine::new(1);
    let mut it = machine.start();
    for i in 0..60 {
        assert_eq!(it.ask(add(i % 3, i / 3, 700)), ADDED);
    }
    assert_eq!(it.ask(fence(2, -1)), entry(2, 19, 700));
    it.shelf.flush_now().unwrap();
    it.shelf.order(Order::Delete(LedgerId(1))).unwrap();
    it.shelf.close().unwrap();
    machine.device.kill();
    machine.index.wipe();
    let mut it = machine.start();
    assert_eq!((it.report.index, it.report.limbo), (IndexFound::Rebuilt, false));
    for i in 0..20 {
        assert_eq!(it.ask(read(0, i)), entry(0, i, 700));
        assert_eq!(it.ask(read(1, i)), refused(Refusal::NoLedger));
        assert_eq!(it.ask(read(2, i)), entry(2, i, 700));
    }
    assert_eq!(it.ask(add(0, 20, 10)), ADDED);
    assert_eq!(it.ask(add(1, 20, 10)), refused(Refusal::Fenced));
    assert_eq!(it.ask(add(2, 20, 10)), refused(Refusal::Fenced));
}

#[test]
fn a_graceful_stop_is_seen() {
    let mut machine = Machine::new(1);
    let mut it = machine.start();
    assert_eq!(it.ask(add(1, 0, 700)), ADDED);
    it.shelf.close().unwrap();
    machine.kill();
    let it = machine.start();
    assert!(it.report.clean && it.report.boot == 2);
    machine.kill();
    assert!(!machine.start().report.clean);
}

#[test]
fn a_failed_sync_ends_all_answers() {
    let mut machine = Machine::new(1);
    let mut it = machine.start();
    assert_eq!(it.ask(add(1, 0, 700)), ADDED);
    machine.device.fail(Call::Sync, 0, Fault::Io);
    assert_eq!(it.ask(add(1, 1, 700)), None);
    assert_eq!(it.ask(add(1, 2, 700)), None);
    assert_eq!(it.ask(fence(1, -1)), None);
    assert!(it.shelf.stopped().is_some() && it.shelf.flush_now().is_err());
}

#[test]
fn damage_below_the_ack_mark_is_limbo_and_no_end() {
    let mut machine = Machine::new(1);
    machine.config.flush_bytes = u64::MAX;
    machine.config.flush_entries = usize::MAX;
    let mut it = machine.start();
    for i in 0..5 {
        assert_eq!(it.ask(add(1, i, 700)), ADDED);
    }
    let name = machine.device.files().first().map(|(name, _)| name.clone()).unwrap();
    machine.kill();
    // The header of the third group: the mark of the start is the first, each entry has one of two kilobytes or less.
    let groups: Vec<u64> = (1..20).map(|i| i * 512).collect();
    let before = machine.device.snapshot();
    let mut limbo = 0;
    for at in groups {
        machine.device.restore(&before);
        machine.device.flip_bit_at(&name, at + 9);
        let mut it = machine.start();
        limbo += u32::from(it.report.limbo);
        for i in 0..5 {
            let outcome = it.ask(read(1, i));
            let told = [entry(1, i, 700), refused(Refusal::Io), refused(Refusal::Unknown)];
            // The last group is above the last mark: it cannot be told from a torn tail.
            assert!(told.contains(&outcome) || i == 4, "flip at {at}: entry {i}: {outcome:?}");
        }
        machine.kill();
        machine.index.wipe();
    }
    assert!(limbo >= 4, "{limbo}");
}

/// A disk with entries of ledger 1 up to 40, of which the index has those up to 39; where its last group is, and what the
/// segments were when there were half as many.
fn flushed() -> (Machine, Position, Snapshot) {
    let mut machine = Machine::new(1);
    let mut it = machine.start();
    let add = |it: &mut Running, i| assert_eq!(it.ask(add(1, i, 700)), ADDED);
    (0..20).for_each(|i| add(&mut it, i));
    let before = machine.device.snapshot();
    (20..40).for_each(|i| add(&mut it, i));
    it.shelf.flush_now().unwrap();
    let last = it.shelf.checkpoint.last;
    add(&mut it, 40);
    machine.kill();
    (machine, last, before)
}

#[test]
fn without_an_index_the_first_group_is_missed_too() {
    let mut machine = Machine::new(1);
    let mut it = machine.start();
    for i in 0..5 {
        assert_eq!(it.ask(add(1, i, 700)), ADDED);
    }
    machine.kill();
    machine.index.wipe();
    machine.device.lose_writes("segment-0000000001", 512, 512);
    let mut it = machine.start();
    assert!(it.report.limbo, "{:?}", it.report);
    assert_eq!(it.ask(read(1, 9)), refused(Refusal::Unknown));
}

#[test]
fn a_loss_is_not_forgotten_by_a_start_that_ends_anywhere() {
    let losses: [fn(&Machine, Position, &Snapshot); 3] = [
        // The group that the index says it goes up to.
        |machine, last, _| {
            let name = format!("segment-{:010}", last.segment.0);
            machine.device.flip_bit_at(&name, u64::from(last.offset) + 9);
        },
        |machine, _, before| machine.device.restore(before),
        |machine, _, _| {
            let disk = machine.device.mount();
            disk.remove("segment-0000000002").and_then(|()| disk.sync_folder()).unwrap();
        },
    ];
    for (lost, calls) in (0..losses.len()).flat_map(|lost| (0..80).map(move |calls| (lost, calls))) {
        let (mut machine, last, before) = flushed();
        losses[lost](&machine, last, &before);
        machine.device.fail(Call::Any, calls, Fault::Power);
        let _ = machine.try_start().map(drop);
        machine.device.heal();
        machine.device.lose_power();
        // What the index did not flush may stay all the same: it writes when it likes.
        if calls % 2 == 0 {
            machine.index.lose_power(0);
        }
        let mut it = machine.start();
        assert!(it.report.limbo, "loss {lost}, power off after {calls} calls: {:?}", it.report);
        assert_eq!(it.ask(read(1, 50)), refused(Refusal::Unknown));
        assert!(machine.device.files().iter().all(|(name, _)| name != "loss"));
    }
}

#[test]
fn deferred_adds_are_durable_once_forced() {
    for seed in 0..20 {
        let mut machine = Machine::new(seed);
        let mut it = machine.start();
        for i in 0..10 {
            assert_eq!(it.ask(deferred_add(1, i, 300)), ADDED);
        }
        assert_eq!(it.ask(read(1, 3)), entry(1, 3, 300));
        let force = Request::Force { ledger: LedgerId(1) };
        assert_eq!(it.ask(force.clone()), Some(Ok(protocol::bookie::Answer::Forced)));
        for i in 10..15 {
            assert_eq!(it.ask(deferred_add(1, i, 300)), ADDED);
        }
        machine.lose_power(seed);
        let mut it = machine.start();
        assert!(!it.report.limbo, "{:?}", it.report);
        for i in 0..10 {
            assert_eq!(it.ask(read(1, i)), entry(1, i, 300));
        }
        // Some of the others may be lost: their writer must not hear that they are durable.
        assert_eq!(it.ask(force), refused(Refusal::Io));
    }
}

#[test]
fn a_foreign_disk_is_refused() {
    let mut machine = Machine::new(1);
    let mut it = machine.start();
    assert_eq!(it.ask(add(1, 0, 10)), ADDED);
    machine.kill();
    machine.config.identity = [8; 16];
    assert!(matches!(machine.try_start(), Err(crate::Error::Foreign { .. })));
    machine.index.wipe();
    assert!(matches!(machine.try_start(), Err(crate::Error::Foreign { .. })));
}

#[test]
fn what_a_failed_sync_left_in_the_page_cache_is_made_durable_before_it_counts() {
    for seed in 0..30 {
        let mut machine = Machine::new(seed);
        let mut it = machine.start();
        assert_eq!(it.ask(add(1, 0, 700)), ADDED);
        machine.device.fail(Call::Sync, 0, Fault::Io);
        assert_eq!(it.ask(add(1, 1, 700)), None);
        machine.kill();
        let mut it = machine.start();
        let again = it.ask(add(1, 1, 700));
        assert_eq!(again, ADDED);
        machine.lose_power(seed);
        let mut it = machine.start();
        assert!(!it.report.limbo, "{:?}", it.report);
        assert_eq!(it.ask(read(1, 0)), entry(1, 0, 700));
        assert_eq!(it.ask(read(1, 1)), entry(1, 1, 700));
    }
}
