//! Clocks that processes publish, so that each can tell whether its own is far off.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::lease::Lease;
use crate::schema::Clock;
use crate::{Error, Scope, Store, Txn, commit};

/// How often a clock is published, and for how long a dead process's remains.
pub const EVERY: Duration = Duration::from_secs(10);
pub const REMAINS: Duration = Duration::from_secs(30);
/// More processes are not looked at.
const MOST: usize = 1000;

/// Publishes one process's clock for as long as it lives.
pub struct Publisher {
    store: Arc<dyn Store>,
    scope: Scope,
    name: String,
    lease: Option<Lease>,
}

impl Publisher {
    /// `name` is of the form `<role>-<name>`.
    pub fn new(store: Arc<dyn Store>, scope: Scope, name: String) -> Publisher {
        Publisher { store, scope, name, lease: None }
    }

    pub async fn publish(&mut self, clock: &Clock) -> Result<(), Error> {
        let id = match self.lease.as_ref().filter(|lease| lease.until().is_some()) {
            Some(lease) => lease.id(),
            None => self.lease.insert(Lease::grant(&self.store, REMAINS).await?).id(),
        };
        let key = self.scope.clock(&self.name);
        let published = commit(&*self.store, Txn::default().put_leased(key, clock.encode(), id)).await;
        if published == Err(Error::LeaseGone) {
            self.lease = None;
        }
        published.map(drop)
    }
}

/// The clocks of all processes that live, and of some that lived a moment ago, by name.
pub async fn all(store: &dyn Store, scope: &Scope) -> Result<BTreeMap<String, Clock>, Error> {
    let prefix = scope.clocks();
    let page = store.range(&prefix, None, MOST).await?;
    let named = page.entries.iter().filter_map(|entry| {
        let name = entry.key.strip_prefix(&prefix)?;
        Some(Clock::decode(name, &entry.value).map(|clock| (name.to_owned(), clock)))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_is_seen_while_its_process_lives_and_a_little_longer() -> Result<(), Error> {
        let disk = disk::simulated::Device::new(1, 64 << 20).mount();
        let store: Arc<dyn Store> =
            crate::embedded::Embedded::open(disk, Default::default()).expect("it opens");
        let scope = Scope::new("/stratamq")?;
        let mut publisher = Publisher::new(store.clone(), scope.clone(), "broker-a:1".into());
        for wall in 0..100 {
            let clock = Clock { wall, doubt: String::new() };
            publisher.publish(&clock).await?;
            assert_eq!(all(&*store, &scope).await?, [("broker-a:1".to_owned(), clock)].into());
            tokio::time::sleep(EVERY).await;
        }
        drop(publisher);
        tokio::time::sleep(REMAINS * 2).await;
        assert_eq!(all(&*store, &scope).await?, BTreeMap::new());
        Ok(())
    }
}
