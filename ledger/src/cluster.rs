//! The cluster as ledgers see it: bookies that are asked, and the metadata store.

use std::collections::BTreeSet;
use std::sync::Arc;

use metadata::registry::{self, BookieInfo};
use metadata::{Ledgers, Stored};
use net::Bookies;
use parking_lot::Mutex;
use protocol::{BookieId, LedgerId};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::Error;
use crate::placement::{self, Placement};
use crate::quorum::Quorums;

/// Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Cluster {
    pub bookies: Arc<dyn Bookies>,
    pub ledgers: Ledgers,
    rng: Arc<Mutex<SmallRng>>,
}

impl Cluster {
    /// `seed` decides every random choice: placement, tokens, which replica is read first.
    pub fn new(bookies: Arc<dyn Bookies>, ledgers: Ledgers, seed: u64) -> Cluster {
        Cluster { bookies, ledgers, rng: Arc::new(Mutex::new(SmallRng::seed_from_u64(seed))) }
    }

    pub fn random(&self) -> u64 {
        self.rng.lock().random()
    }

    pub(crate) fn with_rng<R>(&self, choose: impl FnOnce(&mut SmallRng) -> R) -> R {
        choose(&mut self.rng.lock())
    }

    /// All bookies that are known, as they are registered now.
    pub async fn registered(&self) -> Result<Vec<BookieInfo>, Error> {
        Ok(registry::bookies(&**self.ledgers.store(), self.ledgers.scope()).await?)
    }

    /// An ensemble for a new ledger, without the bookies in `avoid` if that is possible.
    pub async fn place(&self, quorums: Quorums, avoid: &BTreeSet<BookieId>) -> Result<Placement, Error> {
        let bookies = self.registered().await?;
        let mut rng = self.rng.lock();
        placement::choose(&bookies, quorums, avoid, &mut *rng)
            .or_else(|_| placement::choose(&bookies, quorums, &BTreeSet::new(), &mut *rng))
    }

    /// A bookie for one member of an ensemble; `None` if there is no other.
    pub async fn replacement(
        &self,
        quorums: Quorums,
        ensemble: &[BookieId],
        index: usize,
        avoid: &BTreeSet<BookieId>,
    ) -> Result<Option<BookieId>, Error> {
        let bookies = self.registered().await?;
        let mut rng = self.rng.lock();
        Ok(placement::replacement(&bookies, quorums, ensemble, index, avoid, &mut *rng))
    }

    pub async fn stored(&self, ledger: LedgerId) -> Result<Stored, Error> {
        self.ledgers.read(ledger).await?.ok_or(Error::NoSuchLedger(ledger))
    }
}
