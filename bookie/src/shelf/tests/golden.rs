//! The segment that every later release must read, and this one writes.

use std::io::IoSlice;
use std::ops::ControlFlow;

use disk::Disk;
use disk::simulated::Device;
use protocol::bookie::Request;
use protocol::{EntryId, LedgerId};

use super::harness::*;
use crate::inspect::{Inspector, What};
use crate::position::{Position, SegmentId};
use crate::shelf::Order;

const GOLDEN: &[u8] = include_bytes!("../../../../tests/golden/segment.v1.bin");
const FILE: &str = "segment-0000000001";

fn machine() -> Machine {
    let mut machine = Machine::new(41);
    (machine.config.segment_bytes, machine.config.reserve_bytes) = (8192, 1024);
    machine
}

/// Puts the golden segment on a disk.
fn golden() -> Machine {
    let machine = machine();
    let disk = machine.device.mount();
    let file = disk.create(FILE, GOLDEN.len() as u64).unwrap();
    file.write_at(0, &[IoSlice::new(GOLDEN)]).unwrap();
    file.sync().unwrap();
    disk.sync_folder().unwrap();
    machine
}

fn content(device: &Device) -> Vec<u8> {
    let file = device.mount().open(FILE).unwrap();
    let mut bytes = vec![0; file.size().unwrap() as usize];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn this_release_writes_the_golden_segment() {
    let mut machine = machine();
    let mut it = machine.start();
    assert_eq!(it.ask(add(1, 0, 20)), ADDED);
    let (one, two) = (it.stage(add(1, 1, 600)), it.stage(recovery_add(7, 3, 5)));
    assert!(it.commit());
    assert_eq!((one.get(), two.get()), (ADDED, ADDED));
    let (ledger, packet) = (LedgerId(1), b"packet".as_slice().into());
    let _ = it.ask(Request::WriteLac { ledger, lac: EntryId(1), key: key(), packet });
    let _ = it.ask(fence(7, -1));
    it.shelf.order(Order::Limbo(LedgerId(8))).unwrap();
    it.shelf.order(Order::Delete(LedgerId(9))).unwrap();
    it.shelf.order(Order::LimboAll).unwrap();
    it.shelf.order(Order::ClearLimboAll).unwrap();
    it.shelf.close().unwrap();
    assert!(content(&machine.device) == GOLDEN, "the format has changed: it needs a new version");
}

#[test]
fn the_golden_segment_is_read() {
    let mut it = golden().start();
    assert!(it.report.clean && !it.report.limbo, "{:?}", it.report);
    assert_eq!(it.ask(read(1, 0)), entry(1, 0, 20));
    assert_eq!(it.ask(read(1, 1)), entry(1, 1, 600));
    assert_eq!(it.ask(read(7, 3)), entry(7, 3, 5));
    assert_eq!(it.ask(add(7, 4, 5)), refused(protocol::bookie::Refusal::Fenced));
    assert_eq!(it.ask(read(8, 0)), refused(protocol::bookie::Refusal::Unknown));
    assert_eq!(it.reader.deleted().unwrap(), [LedgerId(9)]);
}

#[test]
fn the_golden_segment_can_be_inspected() {
    let machine = golden();
    let inspector = Inspector::new(machine.device.mount(), machine.config.identity).unwrap();
    assert_eq!(inspector.segments(), [SegmentId(1)]);
    let mut entries = Vec::new();
    let scan = inspector.scan(SegmentId(1), &mut |record| {
        assert!(record.intact);
        if let What::Entry { ledger, entry, .. } = record.what {
            entries.push((ledger.0, entry.0));
        }
        ControlFlow::Continue(())
    });
    let scan = scan.unwrap();
    assert!(scan.clean && scan.broken.is_empty(), "{scan:?}");
    assert_eq!(inspector.acked().unwrap(), scan.acked);
    assert_eq!(entries, [(1, 0), (1, 1), (7, 3)]);
}

#[test]
fn damage_is_named_and_told_from_a_torn_tail() {
    let machine = golden();
    let inspector = Inspector::new(machine.device.mount(), machine.config.identity).unwrap();
    let mut place = 0;
    let sound = inspector.scan(SegmentId(1), &mut |record| match record.what {
        What::Entry { ledger: LedgerId(1), entry: EntryId(1), .. } => {
            place = record.at.offset as usize;
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    assert!(sound.unwrap().broken.is_empty());
    let mut bytes = content(&machine.device);
    bytes[place + 300] ^= 1;
    machine.device.mount().open(FILE).unwrap().write_at(0, &[IoSlice::new(&bytes)]).unwrap();
    let scan = inspector.scan(SegmentId(1), &mut |_| ControlFlow::Continue(())).unwrap();
    let [(at, what)] = &scan.broken[..] else { panic!("{:?}", scan.broken) };
    assert_eq!(what, "entry 1 of ledger 1: its checksum is wrong");
    assert!(*at < inspector.acked().unwrap());

    let foreign = Inspector::new(machine.device.mount(), [9; 16]).unwrap();
    let scan = foreign.scan(SegmentId(1), &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(scan.broken, [(Position::new(SegmentId(1), 0), "it is a segment of another disk".into())]);
}
