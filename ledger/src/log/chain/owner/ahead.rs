//! Ledgers that are not links yet: made when they are needed, or ahead.

use super::*;

impl Owner {
    /// The ledger that was made ahead, if none of its bookies is to be avoided.
    pub(super) fn take_ready(&mut self) -> Option<Next> {
        let avoided = self.avoided_now();
        let names =
            |next: &Next| next.ledger.metadata.segments.iter().flat_map(|s| s.ensemble.clone()).collect();
        let ensemble: BTreeSet<BookieId> = names(self.ready.as_ref()?);
        if ensemble.is_disjoint(&avoided) { self.ready.take() } else { None }
    }

    pub(super) async fn create(&self) -> Result<Next, Error> {
        let placement = self.cluster.place(self.settings.quorums, &self.avoided_now()).await?;
        self.create_on(placement).await
    }

    async fn create_on(&self, placement: Placement) -> Result<Next, Error> {
        let metadata = metadata_of(&self.settings, &self.ownership, &placement, self.cluster.random());
        Ok(Next { ledger: self.ownership.create(&metadata).await?, absent: placement.absent })
    }

    /// Makes a ledger ahead, if all its bookies are there; a roll then needs one transaction only.
    pub(super) async fn make_ready(&mut self) {
        if self.ready.is_some() && self.take_ready_or_discard().await {
            return;
        }
        if Instant::now() < self.ready_at {
            return self.look_again_at_ready();
        }
        self.ready_at = Instant::now() + AGAIN * 5;
        match self.create_whole().await {
            Ok(made) => self.ready = made,
            Err(error @ Error::Ended(_)) => self.note(Err(error)),
            Err(error) => {
                tracing::info!(log = %self.ownership.name(), %error, "no ledger could be made ahead");
            }
        }
        self.look_again_at_ready();
    }

    /// A ledger of which no bookie is absent or to be avoided; `None` if there are too few for that.
    async fn create_whole(&self) -> Result<Option<Next>, Error> {
        let placement = self.cluster.place(self.settings.quorums, &self.avoided_now()).await?;
        let avoided = self.avoided_now();
        if placement.absent != Members::NONE || placement.ensemble.iter().any(|b| avoided.contains(b)) {
            return Ok(None);
        }
        self.create_on(placement).await.map(Some)
    }

    fn look_again_at_ready(&mut self) {
        if self.ready.is_none() {
            self.look_at = self.look_at.min(self.ready_at);
        }
    }

    /// Whether the ledger made ahead is still good; one that is not is deleted.
    async fn take_ready_or_discard(&mut self) -> bool {
        if let Some(good) = self.take_ready() {
            self.ready = Some(good);
            return true;
        }
        if let Some(bad) = self.ready.take() {
            let discarded = self.ownership.discard(&[bad.ledger.id]).await;
            self.note(discarded);
        }
        false
    }
}
