//! The way to a cluster: its metadata, its bookies.

use std::sync::Arc;

use ::metadata::ledgers::{Ledgers, Stored};
use ::metadata::{Scope, Store, registry};
use protocol::BookieId;

use crate::config::MetadataUri;
use crate::error::{Error, Outcome};

pub struct Cluster {
    pub uri: MetadataUri,
    pub store: Arc<dyn Store>,
    pub scope: Scope,
    pub ledgers: Ledgers,
}

/// Ledgers read from metadata at once.
const PAGE: usize = 500;

/// Opens the store at an address.
pub async fn open(uri: &MetadataUri) -> Outcome<(Arc<dyn Store>, Scope)> {
    let opened = ::metadata::cluster::open(uri.as_str()).await;
    opened.map_err(|error| Error::cannot(format!("use the metadata at {uri}"), error))
}

impl Cluster {
    pub async fn connect(uri: &MetadataUri) -> Outcome<Cluster> {
        let (store, scope) = open(uri).await?;
        let found = ::metadata::cluster::require(&*store, &scope).await;
        found.map_err(|error| Error::cannot(format!("use the cluster at {uri}"), error))?;
        let ledgers = Ledgers::new(store.clone(), scope.clone(), rand::random());
        Ok(Cluster { uri: uri.clone(), store, scope, ledgers })
    }

    /// Bookies that take new ledgers.
    pub async fn writable(&self) -> Outcome<Vec<BookieId>> {
        let all = registry::bookies(&*self.store, &self.scope).await;
        let all = all.map_err(|error| Error::cannot("list the bookies", error))?;
        Ok(all.into_iter().filter(|bookie| bookie.takes_ledgers()).map(|bookie| bookie.id).collect())
    }

    /// Shows every ledger to `see`, in order of ids; those that cannot be read are told on standard error.
    pub async fn each_ledger(&self, mut see: impl FnMut(&Stored)) -> Outcome {
        let mut after = None;
        loop {
            let page = self
                .ledgers
                .list(after, PAGE)
                .await
                .map_err(|error| Error::cannot("list the ledgers", error))?;
            page.ledgers.iter().for_each(&mut see);
            for (ledger, error) in &page.unreadable {
                eprintln!("stratamq: ledger {ledger} cannot be read: {error}");
            }
            after = page.after;
            if !page.more {
                return Ok(());
            }
        }
    }

    /// A number that tells what this process creates from what others do.
    pub fn token(&self) -> i64 {
        rand::random()
    }
}
