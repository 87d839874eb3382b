//! The way to a cluster: its metadata, its bookies.

use std::io;
use std::sync::Arc;

use ::metadata::ledgers::{Ledgers, Stored};
use ::metadata::registry::{self, BookieInfo, Directory};
use ::metadata::{Scope, Store};
use net::client::{Settings, Tcp};
use net::{Resolve, Resolving};
use protocol::BookieId;

use crate::config::MetadataUri;
use crate::error::{Error, Outcome};

pub struct Cluster {
    pub uri: MetadataUri,
    pub store: Arc<dyn Store>,
    pub scope: Scope,
    pub directory: Directory,
    /// Ledgers, and the bookies that keep them.
    pub client: ledger::Cluster,
}

/// Ledgers read from metadata at once.
const PAGE: usize = 500;

/// Opens the store at an address.
pub async fn open(uri: &MetadataUri) -> Outcome<(Arc<dyn Store>, Scope)> {
    let opened = ::metadata::cluster::open(uri.as_str()).await;
    opened.map_err(|error| Error::cannot(format!("use the metadata at {uri}"), error))
}

/// Makes an empty store a cluster's; one that is stays as it is. Its instance id, and whether that is new.
pub async fn format(store: &dyn Store, scope: &Scope) -> Outcome<(String, bool)> {
    let fresh = uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string();
    let made = ::metadata::cluster::init(store, scope, &fresh).await;
    made.map_err(|error| Error::cannot(format!("format the cluster {}", scope.as_str()), error))
}

impl Cluster {
    pub async fn connect(uri: &MetadataUri) -> Outcome<Cluster> {
        let (store, scope) = open(uri).await?;
        Cluster::over(uri, store, scope, Settings::default()).await
    }

    /// The cluster in a store that is open already.
    pub async fn over(
        uri: &MetadataUri,
        store: Arc<dyn Store>,
        scope: Scope,
        settings: Settings,
    ) -> Outcome<Cluster> {
        let failed = |error| Error::cannot(format!("use the cluster at {uri}"), error);
        ::metadata::cluster::require(&*store, &scope).await.map_err(failed)?;
        let directory = registry::follow(store.clone(), scope.clone()).await.map_err(failed)?;
        let bookies = Arc::new(Tcp::new(Arc::new(Registered(directory.clone())), settings));
        let ledgers = Ledgers::new(store.clone(), scope.clone(), rand::random());
        let client = ledger::Cluster::new(bookies, ledgers, rand::random());
        Ok(Cluster { uri: uri.clone(), store, scope, directory, client })
    }

    pub fn ledgers(&self) -> &Ledgers {
        &self.client.ledgers
    }

    pub async fn bookies(&self) -> Outcome<Vec<BookieInfo>> {
        let bookies = registry::bookies(&*self.store, &self.scope).await;
        bookies.map_err(|error| Error::cannot("list the bookies", error))
    }

    /// Shows every ledger to `see`, in order of ids; those that cannot be read are told on standard error.
    pub async fn each_ledger(&self, mut see: impl FnMut(&Stored)) -> Outcome {
        let mut after = None;
        loop {
            let page = self.ledgers().list(after, PAGE).await;
            let page = page.map_err(|error| Error::cannot("list the ledgers", error))?;
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
}

/// Bookies are where they say they are now; those that say nothing (Apache's) are where their id points.
pub struct Registered(pub Directory);

impl Resolve for Registered {
    fn resolve<'a>(&'a self, bookie: &'a BookieId) -> Resolving<'a> {
        Box::pin(async move {
            let address = self.0.address(bookie);
            let found: Vec<_> = tokio::net::lookup_host(&address).await?.collect();
            if found.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, format!("{address} has no address")));
            }
            Ok(found)
        })
    }
}
