//! The queue table: where each queue begins and ends, in parts of consecutive slots.
//!
//! A part, version 1: per slot `topic + 1 | queue | min | end` as varints; a slot without a queue is one 0.

use crate::entry::Corrupt;
use crate::entry::varint;
use crate::state::TopicId;

/// Slots of one part.
pub const PART: usize = 1024;

/// A queue's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub topic: TopicId,
    pub queue: u16,
    pub min: u64,
    pub end: u64,
}

pub fn encode(slots: impl Iterator<Item = Option<Bounds>>) -> Vec<u8> {
    let mut out = Vec::new();
    for slot in slots {
        let Some(Bounds { topic, queue, min, end }) = slot else {
            out.push(0);
            continue;
        };
        varint::put(&mut out, u64::from(topic.0) + 1);
        varint::put(&mut out, u64::from(queue));
        varint::put(&mut out, min);
        varint::put(&mut out, end);
    }
    out
}

pub fn decode(mut from: &[u8]) -> Result<Vec<Option<Bounds>>, Corrupt> {
    let mut slots = Vec::new();
    while !from.is_empty() {
        let slot = take(&mut from).filter(|_| slots.len() < PART);
        slots.push(slot.ok_or_else(|| Corrupt("a part of the queue table is damaged".into()))?);
    }
    Ok(slots)
}

fn take(from: &mut &[u8]) -> Option<Option<Bounds>> {
    let Some(topic) = varint::take(from)?.checked_sub(1) else { return Some(None) };
    let topic = TopicId(u32::try_from(topic).ok()?);
    let queue = u16::try_from(varint::take(from)?).ok()?;
    let (min, end) = (varint::take(from)?, varint::take(from)?);
    (min <= end).then_some(Some(Bounds { topic, queue, min, end }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_read(slots: Vec<Option<(u32, u16, u32, u32)>>) {
            let slots: Vec<Option<Bounds>> = slots
                .into_iter()
                .map(|slot| slot.map(|(topic, queue, min, more)| Bounds {
                    topic: TopicId(topic), queue, min: u64::from(min), end: u64::from(min) + u64::from(more),
                }))
                .collect();
            prop_assert_eq!(decode(&encode(slots.iter().copied())), Ok(slots));
        }

        #[test]
        fn fuzz_a_part_is_read_or_refused(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }
}
