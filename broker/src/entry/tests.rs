use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use protocol::message::Stored;

use super::batch::Closed;
use super::format::{Contents, Corrupt, What};
use super::{Batch, Row};

const BASE: u64 = 0x1_0000_0002;

fn stored(position: u64, queue_offset: i64, body: &'static [u8]) -> Stored<'static> {
    Stored {
        topic: "TopicTest",
        queue: 3,
        flag: 0,
        queue_offset,
        physical_offset: position as i64,
        sys_flag: 0,
        born_time: 1_700_000_000_000,
        born_host: "192.168.1.2:50123".parse().unwrap(),
        store_time: 1_700_000_000_000 + queue_offset,
        store_host: "10.0.0.1:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_offset: 0,
        body,
        properties: &[b"TAGS\x01a\x02"],
    }
}

/// Two messages, a change and a mark.
fn example() -> Bytes {
    let mut batch = Batch::new(BASE, BytesMut::new(), Vec::new());
    batch.message(&stored(batch.position(), 41, b"one"), 7, -5, &[1, u64::MAX]);
    batch.message(&stored(batch.position(), 42, b"two"), 7, 97, &[]);
    batch.change(b"a change", true, 1_700_000_000_050);
    batch.mark(1_700_000_000_060);
    batch.close(2, 9).body
}

fn decode(body: &Bytes) -> Result<Contents, Corrupt> {
    Contents::decode(BASE, body)
}

fn messages(contents: &Contents) -> Vec<(&Row, u64, i64)> {
    let mut messages = Vec::new();
    for row in &contents.rows {
        if let What::Message(message) = &row.what {
            messages.push((row, message.queue_offset, message.store_time));
        }
    }
    messages
}

#[test]
fn the_golden_entry_is_read() {
    let golden = Bytes::from_static(include_bytes!("../../../tests/golden/broker/entry.v1.bin"));
    assert_eq!(example(), golden);
    let contents = decode(&golden).unwrap();
    assert_eq!(
        (contents.preamble.vb, contents.preamble.epoch, contents.end()),
        (2, 9, BASE + golden.len() as u64)
    );
    let [one, two] = messages(&contents)[..] else { panic!("two messages") };
    assert_eq!((one.1, one.2), (41, 1_700_000_000_041));
    assert_eq!((two.1, two.2), (42, 1_700_000_000_042));
    let bytes = contents.record(two.0).unwrap();
    assert_eq!(bytes[28..36], two.0.position.to_be_bytes());
    assert_eq!(contents.rows[2].what, What::Change { store_time: 1_700_000_000_050 });
    assert_eq!(contents.record(&contents.rows[2]).unwrap(), "a change");
    assert_eq!(contents.rows[3].what, What::Mark);
}

#[test]
fn every_flipped_bit_is_found() {
    let good = example();
    for bit in 0..good.len() * 8 {
        let mut bad = good.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        let found = match decode(&bad.into()) {
            Err(_) => true,
            Ok(contents) => contents.rows.iter().any(|row| contents.record(row).is_err()),
        };
        assert!(found, "bit {bit}");
    }
}

#[test]
fn an_entry_of_another_place_is_refused() {
    let why = Contents::decode(BASE + 1, &example()).unwrap_err();
    assert_eq!(why.0, format!("the entry at position {}: it says that it is at {BASE}", BASE + 1));
}

#[test]
fn an_unknown_record_is_skipped_and_a_critical_one_is_refused() {
    let with = |flags: u8| {
        let mut batch = Batch::new(BASE, BytesMut::new(), Vec::new());
        batch.change(b"x", flags & 1 == 1, 5);
        let Closed { body, .. } = batch.close(2, 9);
        // Another kind, and the checksum of the table for it.
        let mut bytes = body.to_vec();
        let table = bytes.len() - 4 - 10;
        bytes[table + 2] = 99;
        let crc = crc32c::crc32c(&bytes[table..bytes.len() - 4]).to_be_bytes();
        let at = bytes.len() - 4;
        bytes[at..].copy_from_slice(&crc);
        decode(&bytes.into())
    };
    assert_eq!(with(0).unwrap().rows[0].what, What::Unknown);
    assert!(with(1).unwrap_err().0.contains("record of kind 99"));
}

#[test]
fn a_small_entry_does_not_keep_a_large_buffer() {
    let mut batch = Batch::new(0, BytesMut::with_capacity(1 << 20), Vec::new());
    batch.mark(0);
    let Closed { body, buffer, .. } = batch.close(0, 0);
    assert!(body.len() < 100);
    assert_eq!(buffer.capacity(), 1 << 20);
}

proptest! {
    #[test]
    fn fuzz_any_bytes_are_an_entry_or_refused(bytes: Vec<u8>) {
        let _ = decode(&bytes.into());
    }

    #[test]
    fn fuzz_a_damaged_table_is_read_or_refused(at in 0usize..64, with: u8) {
        // The checksum is made right again, so that the table itself is read.
        let mut bytes = example().to_vec();
        let table_len = u32::from_be_bytes(bytes[44..48].try_into().unwrap()) as usize;
        let end = bytes.len() - 4;
        let table = end - table_len;
        bytes[table + at % table_len] = with;
        let crc = crc32c::crc32c(&bytes[table..end]).to_be_bytes();
        bytes[end..].copy_from_slice(&crc);
        if let Ok(contents) = decode(&bytes.into()) {
            for row in &contents.rows {
                let _ = contents.record(row);
            }
        }
    }
}
