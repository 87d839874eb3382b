//! What an entry costs in the writer's core: `cargo run --release -p ledger --example writer_cost`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ledger::quorum::{Members, Quorums};
use ledger::writer::{Patience, Target, Writer};
use protocol::bookie::Answer;
use protocol::entry::{Digest, DigestType, MasterKey};
use protocol::{BookieId, EntryId, LedgerId};

const ENTRIES: u32 = 2_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for (e, w, a) in [(1, 1, 1), (3, 3, 2)] {
        let ensemble = (0..e).map(|i| format!("b{i}:3181").parse()).collect::<Result<Vec<BookieId>, _>>()?;
        let target = Target {
            ledger: LedgerId(1),
            quorums: Quorums::new(e, w, a)?,
            ensemble,
            absent: Members::NONE,
            key: MasterKey::of(b""),
            digest: Digest::new(DigestType::Crc32c, b""),
            first: EntryId::FIRST,
            length: 0,
        };
        let mut writer = Writer::new(target, Patience::default());
        let payload = Bytes::from(vec![7; 1024]);
        let mut out = Vec::new();
        let began = Instant::now();
        for _ in 0..ENTRIES {
            writer.add(&[], payload.clone(), Duration::ZERO, &mut out);
            if out.len() >= 1000 {
                for sent in out.drain(..) {
                    writer.answered(sent.index, sent.entry, Ok(Answer::Added));
                }
            }
        }
        println!("({e},{w},{a}): {:?} per entry of 1 KiB", began.elapsed() / ENTRIES);
    }
    Ok(())
}
