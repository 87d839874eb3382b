//! Replies of our extension. Codes are v2's, and 107 for "I cannot tell".
//!
//! ```text
//! statuses  80 | runs of (first id u64 | count u32 | code u16)
//! entry     82 | id u64 | LAC i64 (i64::MIN: not asked for) | entry
//! entries   83 | id u64 | count u32 | count × length u32 | entries
//! range     84 | id u64 | bytes
//! LAC       86 | id u64 | packet length u32 | packet | last entry      (an absent one has length 0)
//! space     88 | id u64 | free u64 | total u64
//! list      89 | id u64 | BookKeeper's availability packet
//! lengths   8a | id u64 | lengths u32 each
//! ```

use bytes::{Buf, BufMut, Bytes};

use super::{MAX_FRAME, kind};
use crate::EntryId;
use crate::bookie::wire::that_fit;
use crate::bookie::{Answer, Garbage, Op, Outcome, Outgoing, Refusal, Runs, codes, frame};

const SHORT: Garbage = Garbage("an extension reply ends before its fields do");
const NO_LAC: i64 = i64::MIN;
/// Kind and id.
const HEAD: usize = 9;
const RUN: usize = 14;

/// Answers that are a code and nothing else, gathered into runs.
#[derive(Debug, Default)]
pub struct Statuses {
    runs: Vec<Run>,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    first: u64,
    count: u32,
    code: u16,
}

impl Statuses {
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub fn push(&mut self, id: u64, result: Result<(), Refusal>) {
        let code = result.map_or_else(codes::code, |()| codes::OK) as u16;
        match self.runs.last_mut() {
            Some(run) if run.code == code && run.first.wrapping_add(run.count.into()) == id => run.count += 1,
            _ => self.runs.push(Run { first: id, count: 1, code }),
        }
    }

    /// Encodes what was gathered, and forgets it.
    pub fn encode(&mut self, out: &mut Outgoing) {
        for runs in self.runs.chunks(MAX_FRAME / RUN - 1) {
            let fields = out.fields();
            fields.reserve(frame::LENGTH + 1 + runs.len() * RUN);
            fields.put_u32((1 + runs.len() * RUN) as u32);
            fields.put_u8(kind::STATUSES);
            for run in runs {
                fields.put_u64(run.first);
                fields.put_u32(run.count);
                fields.put_u16(run.code);
            }
        }
        self.runs.clear();
    }
}

fn head(kind: u8, id: u64, rest: usize, out: &mut Outgoing) {
    let fields = out.fields();
    fields.reserve(frame::LENGTH + HEAD + rest.min(64));
    fields.put_u32((HEAD + rest) as u32);
    fields.put_u8(kind);
    fields.put_u64(id);
}

/// Encodes one outcome: answers with content at once, bare ones into `statuses`.
pub fn encode_answer(id: u64, outcome: Outcome, statuses: &mut Statuses, out: &mut Outgoing) {
    match outcome {
        Err(refusal) => statuses.push(id, Err(refusal)),
        Ok(Answer::Added | Answer::LacWritten | Answer::Forced) => statuses.push(id, Ok(())),
        Ok(Answer::Entry { body, max_lac }) => {
            head(kind::ENTRY, id, 8 + body.len(), out);
            out.fields().put_i64(max_lac.map_or(NO_LAC, |lac| lac.0));
            out.bytes(body);
        }
        Ok(Answer::Entries(mut entries)) => {
            entries.truncate(that_fit(&entries, 4, MAX_FRAME - frame::LENGTH - HEAD - 4));
            let size = entries.iter().map(|entry| entry.len() + 4).sum::<usize>();
            head(kind::ENTRIES, id, 4 + size, out);
            out.fields().put_u32(entries.len() as u32);
            entries.iter().for_each(|entry| out.fields().put_u32(entry.len() as u32));
            entries.into_iter().for_each(|entry| out.bytes(entry));
        }
        Ok(Answer::Range(bytes)) => {
            head(kind::RANGE, id, bytes.len(), out);
            out.bytes(bytes);
        }
        Ok(Answer::Lengths(lengths)) => {
            head(kind::LENGTHS, id, lengths.len() * 4, out);
            lengths.iter().for_each(|length| out.fields().put_u32(*length));
        }
        Ok(Answer::Lac { packet, last_entry }) => {
            let (packet, last) = (packet.unwrap_or_default(), last_entry.unwrap_or_default());
            head(kind::LAC, id, 4 + packet.len() + last.len(), out);
            out.fields().put_u32(packet.len() as u32);
            out.bytes(packet);
            out.bytes(last);
        }
        Ok(Answer::Info { free, total }) => {
            head(kind::SPACE, id, 16, out);
            out.fields().put_u64(free);
            out.fields().put_u64(total);
        }
        Ok(Answer::List(runs)) => {
            let packet = runs.encode();
            if packet.len() > MAX_FRAME - frame::LENGTH - HEAD {
                return statuses.push(id, Err(Refusal::TooManyRequests));
            }
            head(kind::LIST, id, packet.len(), out);
            out.bytes(packet);
        }
    }
}

/// What a bookie sent.
#[derive(Clone, Debug, PartialEq)]
pub enum FromBookie {
    /// `count` requests from `first` on have this result: those that ask for nothing else ([`Op::done`]).
    Status {
        first: u64,
        count: u32,
        result: Result<(), Refusal>,
    },
    Answer {
        id: u64,
        answer: Answer,
    },
}

impl Op {
    /// The answer that is a bare "done" to this operation, if there is one.
    pub fn done(self) -> Option<Answer> {
        match self {
            Op::Add => Some(Answer::Added),
            Op::WriteLac => Some(Answer::LacWritten),
            Op::Force => Some(Answer::Forced),
            _ => None,
        }
    }
}

/// Decodes a frame from a bookie.
pub fn decode_reply(mut frame: Bytes, mut each: impl FnMut(FromBookie)) -> Result<(), Garbage> {
    let kind = frame.try_get_u8().map_err(|_| SHORT)?;
    if kind == kind::STATUSES {
        let (runs, rest) = frame.as_chunks::<RUN>();
        for run in runs {
            let mut run = &run[..];
            let (first, count, code) = (run.get_u64(), run.get_u32(), run.get_u16());
            each(FromBookie::Status { first, count, result: codes::meaning(code.into()) });
        }
        return if rest.is_empty() { Ok(()) } else { Err(SHORT) };
    }
    let id = frame.try_get_u64().map_err(|_| SHORT)?;
    let answer = match kind {
        kind::ENTRY => {
            let lac = frame.try_get_i64().map_err(|_| SHORT)?;
            Answer::Entry { max_lac: (lac != NO_LAC).then_some(EntryId(lac)), body: frame }
        }
        kind::ENTRIES => Answer::Entries(decode_entries(frame)?),
        kind::RANGE => Answer::Range(frame),
        kind::LAC => {
            let len = frame.try_get_u32().map_err(|_| SHORT)? as usize;
            if len > frame.len() {
                return Err(SHORT);
            }
            let present = |bytes: Bytes| (!bytes.is_empty()).then_some(bytes);
            Answer::Lac { packet: present(frame.split_to(len)), last_entry: present(frame) }
        }
        kind::SPACE => Answer::Info {
            free: frame.try_get_u64().map_err(|_| SHORT)?,
            total: frame.try_get_u64().map_err(|_| SHORT)?,
        },
        kind::LIST => Answer::List(Runs::decode(frame)?),
        kind::LENGTHS => match frame.as_chunks() {
            (lengths, []) => {
                Answer::Lengths(lengths.iter().map(|length| u32::from_be_bytes(*length)).collect())
            }
            _ => return Err(SHORT),
        },
        _ => return Err(Garbage("an extension reply of a kind that version 1 does not have")),
    };
    each(FromBookie::Answer { id, answer });
    Ok(())
}

fn decode_entries(mut frame: Bytes) -> Result<Vec<Bytes>, Garbage> {
    let count = frame.try_get_u32().map_err(|_| SHORT)? as usize;
    let lengths = count.checked_mul(4).filter(|size| *size <= frame.len()).ok_or(SHORT)?;
    let lengths = frame.split_to(lengths);
    let mut entries = Vec::new();
    for length in lengths.as_chunks::<4>().0 {
        let length = u32::from_be_bytes(*length) as usize;
        if length > frame.len() {
            return Err(SHORT);
        }
        entries.push(frame.split_to(length));
    }
    Ok(entries)
}
