//! Requests that are on their way, each with the duty to answer.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use protocol::bookie::{Answer, Op, Refusal, Request};
use tokio::time::Instant;

use crate::{Reply, ReplyTo};

/// A request that waits to be sent.
pub(super) struct Asked {
    pub request: Request,
    pub under_way: UnderWay,
}

/// What remains of a request once it is sent.
pub(super) struct UnderWay {
    pub duty: ReplyTo,
    pub op: Op,
    pub deadline: Instant,
    /// What it counts against the bound.
    pub bytes: usize,
    /// On v2 a range is read as the whole entry, and cut out here: (from, length).
    pub range: Option<(u32, u32)>,
}

/// An answered request.
pub(super) struct Done {
    pub under_way: UnderWay,
    pub reply: Reply,
}

impl UnderWay {
    pub fn done(self, mut reply: Reply) -> Done {
        if let (Some((from, len)), Ok(Answer::Entry { body, .. })) = (self.range, &reply) {
            reply = Ok(Answer::Range(cut(body, from, len)));
        }
        Done { under_way: self, reply }
    }

    /// Answered by a bare code.
    pub fn done_bare(self, result: Result<(), Refusal>) -> Done {
        let answer = result.and_then(|()| self.op.done().ok_or(Refusal::Io));
        self.done(answer.map_err(Into::into))
    }
}

/// The bytes of `entry` from `from` on, as many of `len` as there are.
pub fn cut(entry: &bytes::Bytes, from: u32, len: u32) -> bytes::Bytes {
    let from = (from as usize).min(entry.len());
    let to = from.saturating_add(len as usize).min(entry.len());
    entry.slice(from..to)
}

/// Ids are counted up: spreading their bits is all the hashing they need.
#[derive(Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = (self.0 ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }

    fn write_i64(&mut self, id: i64) {
        self.write_u64(id.cast_unsigned());
    }

    fn write_isize(&mut self, id: isize) {
        self.write_u64(id as u64);
    }
}

/// Under way on a wire whose replies carry ids.
#[derive(Default)]
pub(super) struct ById {
    next: u64,
    expired: u64,
    under_way: HashMap<u64, UnderWay, BuildHasherDefault<IdHasher>>,
}

impl ById {
    /// The id for one more.
    pub fn id(&mut self) -> u64 {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        id
    }

    pub fn insert(&mut self, id: u64, under_way: UnderWay) {
        self.under_way.insert(id, under_way);
    }

    pub fn take(&mut self, id: u64) -> Option<UnderWay> {
        self.under_way.remove(&id)
    }

    pub fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Whether so many replies from `first` on can be meant: a run of a few bytes may claim any length, and no peer
    /// may make us look for more than was asked.
    pub fn plausible(&self, first: u64, count: u32) -> bool {
        u64::from(count) <= self.under_way.len() as u64 + self.expired && first < self.next
    }

    /// Takes out what is due; the next deadline among the rest.
    pub fn expire(&mut self, now: Instant, expired: &mut Vec<UnderWay>) -> Option<Instant> {
        let before = expired.len();
        expired.extend(self.under_way.extract_if(|_, one| one.deadline <= now).map(|(_, one)| one));
        self.expired += (expired.len() - before) as u64;
        self.under_way.values().map(|one| one.deadline).min()
    }

    pub fn drain(&mut self) -> Vec<UnderWay> {
        self.under_way.drain().map(|(_, one)| one).collect()
    }
}
