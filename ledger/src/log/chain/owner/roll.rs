//! From one ledger to the next.

use super::*;

impl Owner {
    /// Freezes the current ledger and goes on in `next`. Once it has begun this does not give up: only the outcome of
    /// the transaction says which ledger may acknowledge.
    pub(super) async fn roll(&mut self, next: Next) -> Answered {
        let Next { mut ledger, absent } = next;
        let target = target_of(&ledger, absent)?;
        let Some(driver) = self.driver.upgrade() else { return Ok(()) };
        let mut end = driver.with(|core, now| {
            match core.has_acknowledged() {
                true => self.pause = Duration::ZERO,
                false => self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE),
            }
            core.begin_roll(target, now)
        });
        drop(driver);
        let old = self.tip.clone();
        let mut tip = Some(old.clone());
        let mut pause = FIRST_PAUSE;
        let linked = loop {
            let base = end_position(old.link.link.base, end);
            match self.ownership.link(tip.as_ref(), end, base, &ledger).await {
                Ok(Linked::Done(linked)) => break linked,
                Ok(Linked::Again(changed)) => tip = changed,
                Ok(Linked::ClosedBeyond(changed, beyond)) => {
                    (tip, end) = (Some(changed), beyond);
                    ledger = self.begin_beyond(&old, end, ledger).await?;
                    continue;
                }
                Err(Error::Unavailable(why)) => self.set_health(Health::Stalled(why)),
                Err(error) => return Err(error),
            }
            if self.driver.strong_count() == 0 {
                return Ok(());
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        self.went_on(linked, end)
    }

    /// The last ledger was closed by somebody else, behind what is acknowledged: begins again there, and gives up the
    /// ledger that was begun.
    async fn begin_beyond(&mut self, old: &Tip, end: End, begun: Stored) -> Result<Stored, Error> {
        let next = loop {
            match self.create().await {
                Ok(next) => break next,
                Err(error @ (Error::Ended(_) | Error::Corrupt(_) | Error::Invalid(_))) => return Err(error),
                Err(error) => self.set_health(Health::Stalled(error.to_string())),
            }
            sleep(AGAIN).await;
        };
        let base = end_position(old.link.link.base, end);
        let target = target_of(&next.ledger, next.absent)?;
        let Some(driver) = self.driver.upgrade() else { return Err(Ended::Sealed.into()) };
        let fits = driver.with(|core, now| {
            let fits = core.holds(base);
            if fits {
                core.adopt_end(base, end, target, now);
            }
            fits
        });
        if !fits {
            return Err(Error::Corrupt(format!(
                "ledger {} was closed at {base}, which no entry of log {} reaches",
                old.ledger.id,
                self.ownership.name()
            )));
        }
        let discarded = self.ownership.discard(&[begun.id]).await;
        self.note(discarded);
        Ok(next.ledger)
    }

    fn went_on(&mut self, linked: Tip, end: End) -> Answered {
        tracing::info!(
            log = %self.ownership.name(),
            from = %self.tip.ledger.id,
            to = %linked.ledger.id,
            base = linked.link.link.base.0,
            "rolled"
        );
        self.shared.readers.closed(self.tip.ledger.id, end);
        self.shared.readers.made(linked.link.link.base, &linked.ledger)?;
        {
            let mut links = self.shared.links.lock();
            if end.last.is_none() {
                links.pop();
            }
            if let Some(last) = links.last_mut() {
                last.link.end = Some(linked.link.link.base);
            }
            links.push(linked.link.clone());
        }
        self.tip = linked;
        self.began = Instant::now();
        self.look_at = self.next_look();
        self.ready_at = Instant::now();
        self.better_at = Instant::now();
        if let Some(driver) = self.driver.upgrade() {
            driver.with(|core, _| {
                core.link_is_done();
                core.set_health(reduced(core));
            });
        }
        self.look_again_in(AGAIN);
        Ok(())
    }
}
