//! How requests become frames and replies find their requests, on each wire.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;

use bytes::Bytes;
use protocol::bookie::{
    Answer, Echo, Garbage, Op, Outcome, Outgoing, Refusal, Request, Unsendable, extension, v2, v3,
};
use protocol::entry::MAX_FRAME;
use tokio::time::Instant;

use super::pending::{Asked, ById, Done, IdHasher, UnderWay};
use crate::Failure;

/// The most timed-out requests whose replies a v2 connection still waits for.
const MAX_GHOSTS: usize = 10_000;

pub(super) enum Dialect {
    /// With what the bookie can do.
    Extension(ById, extension::Batch, u32),
    V2(Box<V2>),
    V3(ById),
}

/// What became of a request that was to be encoded.
pub(super) enum Encoded {
    Sent,
    /// It has to wait for a reply that could be mistaken for its own.
    Wait(Asked),
    /// This wire cannot say it.
    Elsewhere(Asked),
    Done(Done),
}

impl Dialect {
    pub fn extension(capabilities: u32) -> Dialect {
        Dialect::Extension(ById::default(), extension::Batch::default(), capabilities)
    }

    pub fn v2() -> Dialect {
        Dialect::V2(Box::default())
    }

    pub fn v3() -> Dialect {
        Dialect::V3(ById::default())
    }

    pub fn max_frame(&self) -> usize {
        match self {
            Dialect::Extension(..) => extension::MAX_FRAME,
            Dialect::V2(_) | Dialect::V3(_) => MAX_FRAME,
        }
    }

    pub fn encode(&mut self, asked: Asked, out: &mut Outgoing) -> Encoded {
        let Asked { request, under_way } = asked;
        let sent = match self {
            Dialect::V2(v2) => return v2.encode(Asked { request, under_way }, out),
            Dialect::Extension(.., capabilities)
                if *capabilities & extension::LENGTHS == 0 && request.op() == Op::Lengths =>
            {
                return Encoded::Done(under_way.done(Err(Failure::Refused(Refusal::BadVersion))));
            }
            Dialect::Extension(by_id, batch, _) => {
                let id = by_id.id();
                batch.push(id, request, out).map(|()| (by_id, id))
            }
            Dialect::V3(by_id) => {
                let id = by_id.id();
                match v3::encode_request(&request, id, out) {
                    Err(Unsendable::NotOnThisWire) => {
                        return Encoded::Elsewhere(Asked { request, under_way });
                    }
                    sent => sent.map(|()| (by_id, id)),
                }
            }
        };
        match sent {
            Ok((by_id, id)) => {
                by_id.insert(id, under_way);
                Encoded::Sent
            }
            Err(_) => Encoded::Done(under_way.done(Err(Failure::Refused(Refusal::BadRequest)))),
        }
    }

    /// Ends a round of encoding.
    pub fn finish(&mut self, out: &mut Outgoing) {
        if let Dialect::Extension(_, batch, _) = self {
            batch.finish(out);
        }
    }

    /// Decodes one frame of replies. Replies to what nobody waits for any more are dropped.
    pub fn decode(&mut self, frame: Bytes, done: &mut Vec<Done>) -> Result<(), Garbage> {
        match self {
            Dialect::Extension(by_id, ..) => {
                let mut result = Ok(());
                extension::decode_reply(frame, |reply| match reply {
                    extension::FromBookie::Status { first, count, result: code } => {
                        if !by_id.plausible(first, count) {
                            result = Err(Garbage("a reply to what was not asked"));
                            return;
                        }
                        let ids = (0..u64::from(count)).map(|i| first.wrapping_add(i));
                        done.extend(ids.filter_map(|id| by_id.take(id)).map(|one| one.done_bare(code)));
                    }
                    extension::FromBookie::Answer { id, answer } => {
                        done.extend(by_id.take(id).map(|one| one.done(Ok(answer))));
                    }
                })?;
                result
            }
            Dialect::V2(v2) => v2.decode(frame, done),
            Dialect::V3(by_id) => {
                let (id, outcome) = v3::decode_reply(frame)?;
                done.extend(by_id.take(id).map(|one| one.done(outcome.map_err(Into::into))));
                Ok(())
            }
        }
    }

    pub fn under_way(&self) -> usize {
        match self {
            Dialect::Extension(by_id, ..) | Dialect::V3(by_id) => by_id.len(),
            Dialect::V2(v2) => v2.live,
        }
    }

    /// Takes out what is due; the next deadline among the rest.
    pub fn expire(&mut self, now: Instant, expired: &mut Vec<UnderWay>) -> Result<Option<Instant>, Garbage> {
        match self {
            Dialect::Extension(by_id, ..) | Dialect::V3(by_id) => Ok(by_id.expire(now, expired)),
            Dialect::V2(v2) => v2.expire(now, expired),
        }
    }

    pub fn drain(&mut self) -> Vec<UnderWay> {
        match self {
            Dialect::Extension(by_id, ..) | Dialect::V3(by_id) => by_id.drain(),
            Dialect::V2(v2) => {
                let all =
                    v2.same.drain().flat_map(|(_, same)| std::iter::once(same.first).chain(same.others));
                all.flatten().collect()
            }
        }
    }
}

/// v2 replies carry no ids: they are matched by operation, ledger and entry. Requests alike in all that may be under
/// way together, and are answered in order; one that only looks alike (a fencing read after a plain one, a recovery
/// add after a normal one) waits until the others are answered, for it must not take their reply for its own. A
/// request that timed out keeps its place until its reply has come.
#[derive(Default)]
pub(super) struct V2 {
    same: HashMap<Echo, Same, BuildHasherDefault<IdHasher>>,
    batch_reads: u64,
    live: usize,
    ghosts: usize,
}

struct Same {
    request: Kind,
    /// In the order of sending; `None` for one that has timed out. There is rarely more than the first.
    first: Option<UnderWay>,
    others: VecDeque<Option<UnderWay>>,
}

/// What must be equal for two requests of the same echo to be answered alike.
#[derive(PartialEq)]
struct Kind(Option<protocol::entry::MasterKey>, bool, bool);

impl Kind {
    fn of(request: &Request) -> Kind {
        match request {
            Request::Add { key, options, .. } => Kind(Some(*key), options.recovery, options.high_priority),
            Request::Read { options, .. } | Request::BatchRead { options, .. } => {
                Kind(options.fence, false, options.high_priority)
            }
            _ => Kind(None, false, false),
        }
    }
}

impl V2 {
    fn encode(&mut self, mut asked: Asked, out: &mut Outgoing) -> Encoded {
        if let Request::ReadRange { ledger, entry, from, len } = asked.request {
            asked.under_way.range = Some((from, len));
            asked.request = Request::Read { ledger, entry, options: Default::default() };
        }
        if asked.request.op() == Op::Lengths {
            // No wire of BookKeeper's has that.
            return Encoded::Done(asked.under_way.done(Err(Failure::Refused(Refusal::BadVersion))));
        }
        let id = self.batch_reads;
        let echo = match asked.request.op() {
            Op::BatchRead => asked.request.echo(id),
            _ => asked.request.echo(0),
        };
        let request = Kind::of(&asked.request);
        let entry = self.same.entry(echo);
        if matches!(&entry, Entry::Occupied(same) if same.get().request != request) {
            return Encoded::Wait(asked);
        }
        match v2::encode_request(&asked.request, id, out) {
            Ok(_) => {
                self.batch_reads = self.batch_reads.wrapping_add(u64::from(echo.op == Op::BatchRead));
                let under_way = Some(asked.under_way);
                match entry {
                    Entry::Occupied(mut same) => same.get_mut().others.push_back(under_way),
                    Entry::Vacant(none) => {
                        none.insert(Same { request, first: under_way, others: VecDeque::new() });
                    }
                }
                self.live += 1;
                Encoded::Sent
            }
            Err(Unsendable::NotOnThisWire) => Encoded::Elsewhere(asked),
            Err(Unsendable::TooLarge(_)) => {
                Encoded::Done(asked.under_way.done(Err(Failure::Refused(Refusal::BadRequest))))
            }
        }
    }

    fn decode(&mut self, frame: Bytes, done: &mut Vec<Done>) -> Result<(), Garbage> {
        let v2::FromBookie::Reply(echo, outcome) = v2::decode_reply(frame)? else {
            return Err(Garbage("a second greeting"));
        };
        let Entry::Occupied(mut same) = self.same.entry(echo) else {
            return Err(Garbage("a reply to what was not asked"));
        };
        let first = match same.get_mut().others.pop_front() {
            Some(second) => std::mem::replace(&mut same.get_mut().first, second),
            None => same.remove().first,
        };
        match first {
            Some(one) => {
                self.live -= 1;
                done.push(one.done(checked(&echo, outcome).map_err(Into::into)));
            }
            None => self.ghosts -= 1,
        }
        Ok(())
    }

    fn expire(&mut self, now: Instant, expired: &mut Vec<UnderWay>) -> Result<Option<Instant>, Garbage> {
        let mut next = None;
        let all =
            self.same.values_mut().flat_map(|same| std::iter::once(&mut same.first).chain(&mut same.others));
        for one in all {
            match one {
                Some(due) if due.deadline <= now => {
                    self.live -= 1;
                    self.ghosts += 1;
                    expired.extend(one.take());
                }
                Some(later) => {
                    next = Some(next.map_or(later.deadline, |next: Instant| next.min(later.deadline)))
                }
                None => {}
            }
        }
        match self.ghosts {
            0..=MAX_GHOSTS => Ok(next),
            _ => Err(Garbage("too many requests were never answered")),
        }
    }
}

/// A read that succeeded without an entry is no answer.
fn checked(echo: &Echo, outcome: Outcome) -> Outcome {
    match outcome {
        Ok(Answer::Entry { ref body, .. }) if echo.op == Op::Read && body.is_empty() => Err(Refusal::Io),
        outcome => outcome,
    }
}
