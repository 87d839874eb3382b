//! Deciding on requests, and putting what must be durable into the open group.

use bytes::Bytes;
use protocol::EntryId;
use protocol::bookie::{AddOptions, Answer, Body, ReadOptions, Refusal};
use protocol::entry::{HEADER_LEN, Header, MasterKey};

use super::room::{Class, Fit};
use super::*;
use crate::segment::format::{Kind, RECORD_HEADER};
use crate::segment::record::{MAX_LAC_PACKET, encode_ledger};
use crate::segment::walk;
use crate::state::is_ledger;

/// Ledgers that may be vouched for and not yet added to; beyond it the oldest answers of the metadata are asked again.
const MAX_VOUCHED: usize = 100_000;
/// More than a ledger's record takes.
const STATE_BYTES: u32 = (RECORD_HEADER + 64 + MAX_LAC_PACKET) as u32;

/// What decides on a request for a known ledger.
pub(super) struct Facts {
    pub fenced: bool,
    pub vouched: bool,
    pub deleted: bool,
    /// Its runs in the store belong to a deleted life.
    purge: bool,
    key: Option<MasterKey>,
    last: EntryId,
    /// The state that these facts are from is durable.
    durable: bool,
    fresh: bool,
}

impl Facts {
    /// What the store has of it does not count.
    pub fn restored(&self) -> bool {
        self.purge
    }
}

/// How a request ends that is not staged for durability.
enum Verdict {
    Answer(Result<Answer, Refusal>),
    Full,
    Read,
    Stranger,
}

type Decision = Result<Result<(), Verdict>, Error>;

impl<D: Duty> Shelf<D> {
    /// Decides on a request, and puts what must be durable into the open group. Nothing is answered that depends on
    /// the group. After an error of this shelf, duties are dropped.
    pub fn stage(&mut self, request: Request, duty: D) -> Staged<D> {
        if self.stopped.is_some() {
            return Staged::Taken;
        }
        let decided = match &request {
            Request::Add { ledger, entry, key, body, options } => {
                self.add(*ledger, *entry, key, body, options)
            }
            Request::Read { ledger, options, .. } | Request::BatchRead { ledger, options, .. } => {
                self.fence_first(*ledger, options)
            }
            Request::WriteLac { ledger, lac, key, packet } => self.write_lac(*ledger, *lac, key, packet),
            Request::Force { ledger } => self.force(*ledger),
            Request::ReadRange { .. }
            | Request::Lengths { .. }
            | Request::ReadLac { .. }
            | Request::ListEntries { .. }
            | Request::Info => Ok(Err(Verdict::Read)),
        };
        self.settle(decided, request, duty)
    }

    fn settle(&mut self, decided: Decision, request: Request, duty: D) -> Staged<D> {
        match decided {
            Ok(Ok(())) => match request {
                Request::Add { .. } => self.group.answers.push((duty, Ok(Answer::Added))),
                Request::WriteLac { .. } => self.group.answers.push((duty, Ok(Answer::LacWritten))),
                Request::Force { .. } => self.group.answers.push((duty, Ok(Answer::Forced))),
                read => self.group.reads.push((read, duty)),
            },
            Ok(Err(Verdict::Answer(outcome))) => duty.answer(outcome),
            Ok(Err(Verdict::Full)) => return Staged::Full(request, duty),
            Ok(Err(Verdict::Read)) => return Staged::Read(request, duty),
            Ok(Err(Verdict::Stranger)) => return Staged::Stranger(request, duty),
            // The index could not be read: nothing has changed, and nothing is known.
            Err(Error::Index { what, source }) => {
                tracing::error!(what, error = %source, "the index cannot be read");
                duty.answer(Err(Refusal::Io));
            }
            Err(error) => self.stop(&error),
        }
        Staged::Taken
    }

    /// The ledger may be written here, according to the metadata. Forgotten once its first add is staged.
    pub fn vouch(&mut self, ledger: LedgerId) {
        if self.vouched.len() >= MAX_VOUCHED {
            self.vouched.clear();
        }
        self.vouched.insert(ledger);
    }

    /// What is known of a ledger, staged changes included.
    pub(super) fn facts(&self, ledger: LedgerId) -> Result<Option<Facts>, Error> {
        let mut catalog = self.shared.catalog.read();
        let mut known = catalog.ledgers.get(&ledger);
        if known.is_none() && !self.staged.contains_key(&ledger) {
            drop(catalog);
            self.shared.load(ledger).map_err(Error::index("reading a ledger's state"))?;
            catalog = self.shared.catalog.read();
            known = catalog.ledgers.get(&ledger);
        }
        let staged = if self.staged.is_empty() { None } else { self.staged.get(&ledger) };
        let Some(state) = staged.or(known.map(|known| &known.state)) else { return Ok(None) };
        Ok(Some(Facts {
            fenced: state.fenced(&self.shelf_state),
            vouched: state.vouched,
            deleted: state.deleted,
            purge: known
                .is_some_and(|known| known.purge != Purge::None || known.state.deleted != state.deleted),
            key: state.key,
            last: known.map_or(EntryId::NONE, |known| known.last.0),
            durable: staged.is_none() && catalog.shelf == self.shelf_state,
            fresh: known.is_none_or(|known| known.fresh),
        }))
    }

    /// A ledger's state with staged changes; what a new one begins with if there is none.
    pub(super) fn state_of(&self, ledger: LedgerId) -> LedgerState {
        if let Some(state) = self.staged.get(&ledger) {
            return state.clone();
        }
        match self.shared.catalog.read().ledgers.get(&ledger) {
            Some(known) => known.state.clone(),
            None => LedgerState { born: self.shelf_state.cleared, ..LedgerState::default() },
        }
    }

    /// Puts a ledger's changed state into the open group. There must be room.
    pub(super) fn push_state(&mut self, ledger: LedgerId, state: LedgerState) {
        self.group.push_bytes(&self.current, Kind::Ledger, encode_ledger(ledger, &state));
        self.group.sync = true;
        self.homes.insert((self.current.id, ledger));
        self.group.events.push(Event::Ledger(ledger, Box::new(state.clone())));
        self.staged.insert(ledger, state);
    }

    fn add(
        &mut self,
        ledger: LedgerId,
        entry: EntryId,
        key: &MasterKey,
        body: &Body,
        options: &AddOptions,
    ) -> Decision {
        let Some(header) = header_of(body).filter(|h| (h.ledger, h.entry) == (ledger, entry)) else {
            return refuse(Refusal::BadRequest);
        };
        if !is_ledger(ledger) || entry.is_none() {
            return refuse(Refusal::BadRequest);
        }
        let facts = self.facts(ledger)?;
        let normal = !options.recovery;
        match &facts {
            None if normal && !self.vouched.contains(&ledger) => return Ok(Err(Verdict::Stranger)),
            None => {}
            Some(facts) => {
                if facts.key.is_some_and(|own| own != *key) {
                    return refuse(Refusal::Unauthorized);
                }
                if normal && (facts.fenced || facts.deleted && !planted::on(Bug::TombstoneForgotten)) {
                    return refuse(Refusal::Fenced);
                }
                if normal && !facts.vouched && !self.vouched.contains(&ledger) {
                    return Ok(Err(Verdict::Stranger));
                }
                if facts.deleted && facts.purge {
                    return refuse(Refusal::TooManyRequests);
                }
            }
        }
        let class = if normal && !options.high_priority { Class::Normal } else { Class::Recovery };
        let old = match &facts {
            Some(facts) if entry <= facts.last && !facts.purge => {
                self.shared.locate(ledger, entry).map_err(Error::index("looking up an entry"))?
            }
            _ => None,
        };
        if old.is_some_and(|old| {
            normal || facts.as_ref().is_some_and(|f| f.key.is_some()) && self.holds(old, body)
        }) {
            // It is here already, perhaps not yet synced. A recovery that is tried again and again must not fill the disk.
            self.group.sync |= !options.deferred_sync;
            return Ok(Ok(()));
        }
        let bytes = RECORD_HEADER as u32 + body.len() as u32;
        if let Err(verdict) = self.room_for(bytes.saturating_add(STATE_BYTES), class)? {
            return Ok(Err(verdict));
        }
        self.note_writer(ledger, facts.as_ref(), key, normal);
        let offset = self.group.push(&self.current, Kind::Entry, body.clone(), None);
        let slot = self.slot(entry, offset, body.len() as u32);
        self.group.events.push(Event::Entry { ledger, slot, lac: header.lac, old, copy: false });
        self.group.sync |= !options.deferred_sync;
        Ok(Ok(()))
    }

    /// Whether these very bytes can be read there.
    fn holds(&self, slot: Slot, body: &Body) -> bool {
        let Ok(file) = self.shared.segments.open(SegmentId(slot.segment)) else { return false };
        let stored = walk::read(&file, slot.offset, RECORD_HEADER + slot.length as usize);
        let stored = stored.ok().and_then(|bytes| walk::record_at(&file, slot.offset, &bytes, 0));
        stored.is_some_and(|record| {
            record.intact && record.header.kind == Kind::Entry && record.body == body.joined()
        })
    }

    /// Where a record of the open group will be.
    pub(super) fn slot(&self, entry: EntryId, offset: u32, length: u32) -> Slot {
        Slot { entry: entry.0, segment: self.current.id.0, offset: self.log.next.offset + offset, length }
    }

    /// The first add of its kind changes the ledger's state: it brings a key, or a writer that the metadata allows, or
    /// overrides a tombstone.
    fn note_writer(&mut self, ledger: LedgerId, facts: Option<&Facts>, key: &MasterKey, normal: bool) {
        if facts.is_some_and(|facts| facts.key.is_some() && (facts.vouched || !normal) && !facts.deleted) {
            return;
        }
        let mut state = self.state_of(ledger);
        state.key = Some(*key);
        state.vouched |= normal;
        // A ledger that comes back comes to be copied here, not to be written.
        state.fenced |= state.deleted;
        state.deleted = false;
        self.vouched.remove(&ledger);
        self.push_state(ledger, state);
    }

    fn room_for(&mut self, bytes: u32, class: Class) -> Result<Result<(), Verdict>, Error> {
        Ok(match self.fit(bytes, class)? {
            Fit::Here => Ok(()),
            Fit::Full => Err(Verdict::Full),
            Fit::NoRoom => Err(Verdict::Answer(Err(Refusal::ReadOnly))),
            Fit::TooLarge => Err(Verdict::Answer(Err(Refusal::BadRequest))),
        })
    }

    /// A fencing read: nothing is answered, not even in the negative, before the fence is durable, and the look-up
    /// comes after that.
    fn fence_first(&mut self, ledger: LedgerId, options: &ReadOptions) -> Decision {
        let Some(key) = options.fence else { return Ok(Err(Verdict::Read)) };
        if !is_ledger(ledger) {
            return refuse(Refusal::BadRequest);
        }
        let facts = self.facts(ledger)?;
        if let Some(facts) = &facts {
            if facts.key.is_some_and(|own| own != key) {
                return refuse(Refusal::Unauthorized);
            }
            if (facts.fenced || facts.deleted) && facts.key.is_some() {
                self.group.sync |= !facts.durable;
                return Ok(if facts.durable { Err(Verdict::Read) } else { Ok(()) });
            }
        }
        if let Err(verdict) = self.room_for(STATE_BYTES, Class::State)? {
            return Ok(Err(verdict));
        }
        let mut state = self.state_of(ledger);
        state.key = Some(key);
        state.fenced = true;
        self.push_state(ledger, state);
        if planted::on(Bug::NegativeAnswerBeforeFence) {
            return Ok(Err(Verdict::Read));
        }
        Ok(Ok(()))
    }

    fn write_lac(&mut self, ledger: LedgerId, lac: EntryId, key: &MasterKey, packet: &Bytes) -> Decision {
        if !is_ledger(ledger) || packet.len() > MAX_LAC_PACKET {
            return refuse(Refusal::BadRequest);
        }
        let facts = self.facts(ledger)?;
        if let Some(facts) = &facts {
            if facts.key.is_some_and(|own| own != *key) {
                return refuse(Refusal::Unauthorized);
            }
            if facts.deleted {
                return refuse(Refusal::NoLedger);
            }
        }
        let mut state = self.state_of(ledger);
        if state.explicit_lac() >= lac && state.lac.is_some() {
            self.group.sync = true;
            return Ok(Ok(()));
        }
        if let Err(verdict) = self.room_for(STATE_BYTES, Class::Normal)? {
            return Ok(Err(verdict));
        }
        state.key = Some(*key);
        state.lac = Some((lac, packet.clone()));
        self.push_state(ledger, state);
        Ok(Ok(()))
    }

    fn force(&mut self, ledger: LedgerId) -> Decision {
        let Some(facts) = self.facts(ledger)? else {
            // Nothing of it was ever added here, so nothing is missing: a ledger whose ensemble is larger than its
            // write quorum is forced on bookies that have none of its entries yet. But adds without a sync may have
            // gone with the power, and the ledger with them.
            return match (self.shelf_state.limbo(), self.clean_start) {
                (true, _) => refuse(Refusal::Unknown),
                (false, true) => Ok(Err(Verdict::Answer(Ok(Answer::Forced)))),
                (false, false) => refuse(Refusal::Io),
            };
        };
        // Adds that an earlier process took without a sync may be gone with the power: only their writer knows of
        // them, and must not hear that they are durable.
        if !facts.fresh && !self.clean_start {
            return refuse(Refusal::Io);
        }
        self.group.sync = true;
        Ok(Ok(()))
    }
}

fn refuse(refusal: Refusal) -> Decision {
    Ok(Err(Verdict::Answer(Err(refusal))))
}

fn header_of(body: &Body) -> Option<Header> {
    if body.head.len() >= HEADER_LEN {
        return Header::of(&body.head);
    }
    Header::of(&body.joined())
}
