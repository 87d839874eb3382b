//! Why to leave a ledger, and for which other.

use super::*;

/// How long a bookie that failed is avoided; twice as long each time that it fails again soon.
const AVOID_FOR: Duration = Duration::from_secs(10);
const AVOID_AT_MOST: Duration = Duration::from_secs(300);

impl Owner {
    pub(super) async fn react(&mut self, reason: Reason) -> Answered {
        match reason {
            Reason::Slow(bookie) => {
                let since = self.last_slow_roll.map(|at| at.elapsed());
                if let Some(left) = since.and_then(|since| self.settings.slow_roll_every.checked_sub(since)) {
                    self.look_again_in(left.max(FIRST_PAUSE));
                    return Ok(());
                }
                self.avoid([bookie]);
                self.last_slow_roll = Some(Instant::now());
                self.roll_if_better().await
            }
            Reason::Lost(bookie) => {
                self.avoid_absent();
                tracing::info!(log = %self.ownership.name(), %bookie, "a bookie is lost");
                self.roll_if_better().await
            }
            Reason::Reduced => self.roll_if_better().await,
            Reason::Full => self.roll_anyway().await,
            Reason::Dead(trouble) => self.leave_dead(trouble).await,
        }
    }

    /// Notes that these bookies failed just now.
    fn avoid(&mut self, bookies: impl IntoIterator<Item = BookieId>) {
        let now = Instant::now();
        for bookie in bookies {
            let avoided = self.avoided.entry(bookie).or_insert(Avoided { until: now, spell: Duration::ZERO });
            if avoided.until <= now {
                let again = now < avoided.until + avoided.spell * 4 && avoided.spell > Duration::ZERO;
                avoided.spell = if again { (avoided.spell * 2).min(AVOID_AT_MOST) } else { AVOID_FOR };
                avoided.until = now + avoided.spell;
            }
        }
    }

    /// Avoids the members that the current ledger does without, but not those that it was begun without: they are
    /// tried again as soon as they are registered.
    fn avoid_absent(&mut self) {
        let Some(driver) = self.driver.upgrade() else { return };
        let lost = driver.look(|core| core.lost_since_begin());
        self.avoid(lost);
    }

    pub(super) fn avoided_now(&self) -> BTreeSet<BookieId> {
        let now = Instant::now();
        self.avoided.iter().filter(|(_, a)| a.until > now).map(|(b, _)| b.clone()).collect()
    }

    /// Goes on in a ledger whose bookies are all there; stays if there is none, as this one still acknowledges.
    async fn roll_if_better(&mut self) -> Answered {
        if Instant::now() < self.better_at {
            self.look_at = self.look_at.min(self.better_at);
            return Ok(());
        }
        self.better_at = Instant::now() + AGAIN;
        match self.better().await {
            Ok(Some(next)) => self.roll(next).await,
            stays => {
                if let Some(driver) = self.driver.upgrade() {
                    driver.with(|core, _| core.set_health(reduced(core)));
                }
                self.look_again_in(AGAIN);
                stays.map(drop)
            }
        }
    }

    /// A ledger whose bookies are all there, if there can be one.
    async fn better(&mut self) -> Result<Option<Next>, Error> {
        // Nothing is frozen before it is known that the transaction has a chance.
        self.ownership.check().await?;
        if let Some(next) = self.take_ready() {
            return Ok(Some(next));
        }
        let bookies = self.cluster.registered().await?;
        if !placement::is_whole_again(&bookies, self.settings.quorums, &self.avoided_now()) {
            return Ok(None);
        }
        self.create().await.map(Some)
    }

    pub(super) async fn roll_anyway(&mut self) -> Answered {
        // Nothing is frozen before it is known that the transaction has a chance.
        self.ownership.check().await?;
        let next = match self.take_ready() {
            Some(next) => next,
            None => self.create().await?,
        };
        self.roll(next).await
    }

    /// The current ledger acknowledges nothing more: any other is better.
    async fn leave_dead(&mut self, trouble: Trouble) -> Answered {
        let why = match trouble {
            Trouble::Stuck(why) => why,
            Trouble::Fenced(bookie) => format!("bookie {bookie} says that the ledger is fenced"),
            Trouble::Refused(bookie, refusal) => {
                self.avoid([bookie.clone()]);
                format!("bookie {bookie} refuses entries: {refusal}")
            }
            Trouble::Slow(bookie) | Trouble::Lost(bookie, _) => format!("bookie {bookie} does not answer"),
        };
        self.avoid_absent();
        tracing::warn!(log = %self.ownership.name(), why, "the ledger cannot go on");
        self.wait_for_bookies().await;
        let next = match self.take_ready() {
            Some(next) => Ok(next),
            None => self.create().await,
        };
        match next {
            Ok(next) => self.roll(next).await,
            Err(error @ Error::Ended(_)) => Err(error),
            Err(error) => {
                self.set_health(Health::Stalled(format!("{why}; and there is no other ledger: {error}")));
                self.lengthen_pause();
                self.look_again_in(self.pause);
                Ok(())
            }
        }
    }

    /// Waits before another ledger is tried, but no longer than until the bookies' room is another.
    async fn wait_for_bookies(&mut self) {
        let end = Instant::now() + self.pause;
        while Instant::now() < end {
            tokio::select! {
                biased;
                () = changed(&mut self.directory) => self.look_at_room(),
                () = sleep_until(end) => {}
            }
            if self.pause.is_zero() {
                return;
            }
        }
    }

    fn lengthen_pause(&mut self) {
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
    }
}
