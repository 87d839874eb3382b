//! What the service's own duties change.

use super::room::{Class, Fit};
use super::*;
use crate::segment::format::RECORD_HEADER;
use crate::segment::record::MAX_LAC_PACKET;

impl<D: Duty> Shelf<D> {
    /// Stages an order. An error of the disk stops the shelf; one of the index does not.
    pub fn order(&mut self, order: Order) -> Result<(), Error> {
        self.running()?;
        self.carry_out(order).inspect_err(|error| {
            if matches!(error, Error::Disk { .. }) {
                self.stop(error);
            }
        })
    }

    fn carry_out(&mut self, order: Order) -> Result<(), Error> {
        match order {
            Order::LimboAll => {
                let damages = self.shelf_state.damages + 1;
                self.change_shelf(ShelfState { damages, ..self.shelf_state })
            }
            Order::ClearLimboAll => {
                self.change_shelf(ShelfState { cleared: self.shelf_state.damages, ..self.shelf_state })
            }
            Order::Delete(ledger) => {
                self.change(ledger, |state, _| (state.deleted, state.lac) = (true, None))
            }
            Order::Fence(ledger) => self.change(ledger, |state, _| state.fenced = true),
            Order::Limbo(ledger) => {
                self.change(ledger, |state, _| (state.limbo, state.fenced) = (true, true))
            }
            Order::ClearLimbo(ledger) => self.change(ledger, |state, shelf| {
                // Its fence may be among what was lost.
                state.fenced = state.fenced(shelf);
                state.limbo = false;
                (state.born, state.cleared) = (shelf.damages, shelf.damages);
            }),
            Order::Forget(ledger) => self.forget(ledger),
        }
    }

    fn change_shelf(&mut self, state: ShelfState) -> Result<(), Error> {
        if state != self.shelf_state {
            self.make_room(self.shelf_bytes())?;
            self.shelf_state = state;
            self.push_shelf();
        }
        Ok(())
    }

    fn change(
        &mut self,
        ledger: LedgerId,
        change: impl FnOnce(&mut LedgerState, &ShelfState),
    ) -> Result<(), Error> {
        // Brings it into memory.
        self.facts(ledger)?;
        let before = self.state_of(ledger);
        let mut state = before.clone();
        change(&mut state, &self.shelf_state);
        if state != before {
            self.make_room((RECORD_HEADER + 64 + MAX_LAC_PACKET) as u32)?;
            self.push_state(ledger, state);
        }
        Ok(())
    }

    fn forget(&mut self, ledger: LedgerId) -> Result<(), Error> {
        self.commit_inner()?;
        self.flush_now()?;
        let mut catalog = self.shared.catalog.write();
        let stays =
            catalog.ledgers.get(&ledger).is_some_and(|known| !known.state.deleted || !known.is_clean());
        if stays {
            return Ok(());
        }
        let key = crate::index::rows::ledger_key(ledger);
        let stored = self.shared.store.get(&key).map_err(Error::index("reading a ledger's state"))?;
        let deleted = stored
            .and_then(|row| crate::index::rows::decode_ledger(&row))
            .is_some_and(|(state, _)| state.deleted);
        if deleted {
            // Volatile until the next flush: a crash brings the tombstone back, which does no harm.
            let batch = vec![crate::index::Change::Remove(key)];
            self.shared.store.write(batch).map_err(Error::index("forgetting a tombstone"))?;
            catalog.ledgers.remove(&ledger);
        }
        Ok(())
    }

    /// Finds room for the shelf's own records, committing what is in the way.
    pub(super) fn make_room(&mut self, bytes: u32) -> Result<(), Error> {
        for _ in 0..2 {
            match self.fit(bytes, Class::State)? {
                Fit::Here => return Ok(()),
                Fit::Full => self.commit_inner()?,
                Fit::NoRoom | Fit::TooLarge => break,
            }
        }
        Err(Error::NoRoom)
    }

    /// A commit that is not the caller's: the reads that it readies wait for the caller's next.
    pub(super) fn commit_inner(&mut self) -> Result<(), Error> {
        let committed = self.commit_group()?;
        self.ready.extend(committed.reads);
        Ok(())
    }

    /// Puts ledgers in limbo of which an entry was found to be damaged.
    pub(super) fn mark_damaged(&mut self) -> Result<(), Error> {
        for ledger in self.shared.take_damaged_ledgers() {
            match self.change(ledger, |state, _| state.limbo |= !state.deleted) {
                Ok(()) => {}
                Err(Error::NoRoom) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
