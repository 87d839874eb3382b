//! A cluster's place in the metadata store: found by its URI, formatted, checked.

use std::path::PathBuf;
use std::sync::Arc;

use crate::embedded::{OpenError, open_folder};
use crate::etcd::Etcd;
use crate::registry::{self, read_all};
use crate::schema::{self, LAYOUT};
use crate::{Compare, Error, Ledgers, Scope, Store, Txn, TxnOutcome, commit};

/// A metadata address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `etcd://host:port[,host:port]/scope`
    Etcd { endpoints: Vec<String>, scope: Scope },
    /// `embedded:///folder`
    Embedded { folder: PathBuf, scope: Scope },
}

/// The scope of an embedded store, which serves one cluster only.
const EMBEDDED_SCOPE: &str = "/local";

impl Address {
    pub fn parse(uri: &str) -> Result<Address, Error> {
        let wrong = |why: &str| {
            Err(Error::Invalid(format!(
                "metadata address '{uri}': {why}. Write etcd://host:2379[,host:2379]/scope, or embedded:///folder"
            )))
        };
        let Some((scheme, rest)) = uri.split_once("://") else { return wrong("it has no scheme") };
        match scheme {
            "etcd" => {
                let Some((hosts, path)) = rest.split_once('/') else { return wrong("it has no scope") };
                let endpoints: Vec<String> = hosts.split([',', ';']).map(str::to_owned).collect();
                if endpoints.iter().any(|host| host.parse::<protocol::BookieId>().is_err()) {
                    return wrong("an endpoint is not host:port");
                }
                Ok(Address::Etcd { endpoints, scope: Scope::new(&format!("/{path}"))? })
            }
            "embedded" if rest.starts_with('/') && rest.len() > 1 => {
                Ok(Address::Embedded { folder: rest.into(), scope: Scope::new(EMBEDDED_SCOPE)? })
            }
            "embedded" => wrong("the folder must be an absolute path"),
            "zk" | "zk+hierarchical" | "zk+longhierarchical" | "zk+flat" | "zk+null" | "zookeeper" => wrong(
                "this cluster keeps its metadata in ZooKeeper, which StrataMQ does not use. Only clusters with etcd \
                 metadata (BookKeeper's own etcd driver) can be shared",
            ),
            other => wrong(&format!("scheme '{other}' is unknown")),
        }
    }
}

/// Opens the store at a metadata address. A cluster need not be there yet.
pub async fn open(uri: &str) -> Result<(Arc<dyn Store>, Scope), Error> {
    match Address::parse(uri)? {
        Address::Etcd { endpoints, scope } => Ok((Arc::new(Etcd::connect(&endpoints).await?), scope)),
        Address::Embedded { folder, scope } => match open_folder(&folder) {
            Ok(store) => Ok((store, scope)),
            Err(error @ (OpenError::Damaged { .. } | OpenError::Unknown { .. })) => {
                Err(Error::Corrupt(error.to_string()))
            }
            Err(error @ OpenError::InUse(_)) => Err(Error::Invalid(error.to_string())),
            Err(error) => Err(Error::Unavailable(error.to_string())),
        },
    }
}

/// What is found where a cluster should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// Nothing.
    None,
    Complete {
        instance_id: String,
    },
    /// Some of the keys, as an interrupted format or deletion leaves them.
    Half {
        missing: Vec<String>,
    },
}

/// Keys that are empty.
fn folders(scope: &Scope) -> Vec<String> {
    let below = [
        "bookies",
        "bookies/readonly",
        "bookies/writable",
        "buckets",
        "cookies",
        "ledgers",
        "underreplication",
    ];
    std::iter::once(scope.as_str().to_owned()).chain(below.map(|path| scope.key(path))).collect()
}

pub async fn format(store: &dyn Store, scope: &Scope) -> Result<Format, Error> {
    let layout = store.get(&scope.layout()).await?;
    let instance = store.get(&scope.instance_id()).await?;
    let root = store.get(scope.as_str()).await?;
    if let Some(other) = layout.as_ref().filter(|layout| layout.value != LAYOUT) {
        return Err(Error::Corrupt(format!(
            "{} says '{}': this is no cluster with the layout of BookKeeper's etcd driver",
            scope.layout(),
            String::from_utf8_lossy(&other.value).escape_debug()
        )));
    }
    let missing: Vec<String> = [(scope.layout(), &layout), (scope.instance_id(), &instance)]
        .into_iter()
        .chain([(scope.as_str().to_owned(), &root)])
        .filter(|(_, found)| found.is_none())
        .map(|(key, _)| key)
        .collect();
    match instance {
        Some(instance) if missing.is_empty() => {
            let instance_id = String::from_utf8_lossy(&instance.value).into_owned();
            if uuid::Uuid::try_parse(&instance_id).is_err() {
                return Err(Error::Corrupt(format!(
                    "{} holds '{instance_id}', not a UUID",
                    scope.instance_id()
                )));
            }
            Ok(Format::Complete { instance_id })
        }
        _ => {
            let other = store.range(&scope.key(""), None, 1).await?;
            let none = missing.len() == 3 && other.entries.is_empty();
            Ok(if none { Format::None } else { Format::Half { missing } })
        }
    }
}

/// The instance id of a cluster that is formatted; a clear error otherwise.
pub async fn require(store: &dyn Store, scope: &Scope) -> Result<String, Error> {
    match format(store, scope).await? {
        Format::Complete { instance_id } => Ok(instance_id),
        Format::None => Err(Error::Invalid(format!(
            "there is no cluster under {}: run 'stratamq admin --metadata URI cluster init' first, or correct the scope",
            scope.as_str()
        ))),
        Format::Half { missing } => Err(half(scope, &missing)),
    }
}

fn half(scope: &Scope, missing: &[String]) -> Error {
    Error::Corrupt(format!(
        "the cluster under {} is half formatted: {} missing, while other keys are there. Nothing was changed. If no \
         data of it is needed, delete all keys that begin with {}/ and format it again; else restore what is missing",
        scope.as_str(),
        missing.join(" and "),
        scope.as_str()
    ))
}

/// Formats a cluster, or finds it formatted: its instance id, and whether it is new. `instance_id`: a random UUID.
pub async fn init(store: &dyn Store, scope: &Scope, instance_id: &str) -> Result<(String, bool), Error> {
    match format(store, scope).await? {
        Format::Complete { instance_id } => return Ok((instance_id, false)),
        Format::Half { missing } => return Err(half(scope, &missing)),
        Format::None => {}
    }
    let folders = folders(scope);
    let mut txn = Txn::default();
    for key in folders.iter().cloned().chain([scope.layout(), scope.instance_id()]) {
        txn = txn.compare(Compare::Absent(key));
    }
    for key in folders {
        txn = txn.put(key, "");
    }
    txn = txn.put(scope.instance_id(), instance_id.to_owned()).put(scope.layout(), LAYOUT);
    match commit(store, txn).await? {
        TxnOutcome::Done(_) => Ok((instance_id.to_owned(), true)),
        // Another one formats at the same time.
        TxnOutcome::Conflict(_) => require(store, scope).await.map(|instance_id| (instance_id, false)),
    }
}

/// What [`check`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub instance_id: String,
    pub bookies: usize,
    pub ledgers: usize,
    /// What is wrong, in sentences.
    pub problems: Vec<String>,
}

/// Reads everything, and says what is wrong.
pub async fn check(store: &Arc<dyn Store>, scope: &Scope) -> Result<Report, Error> {
    let mut report = Report { instance_id: require(&**store, scope).await?, ..Report::default() };
    for key in folders(scope) {
        if store.get(&key).await?.is_none() {
            report.problems.push(format!("key {key} is missing: tools of Apache BookKeeper expect it"));
        }
    }
    check_bookies(&**store, scope, &mut report).await?;
    check_ledgers(store, scope, &mut report).await?;
    Ok(report)
}

async fn check_bookies(store: &dyn Store, scope: &Scope, report: &mut Report) -> Result<(), Error> {
    for entry in read_all(store, &scope.key("cookies/")).await? {
        match schema::Cookie::decode(&entry.key, &entry.value) {
            Err(error) => report.problems.push(error.to_string()),
            Ok(cookie) if cookie.instance_id != report.instance_id => report.problems.push(format!(
                "the cookie of bookie {} is of another cluster ({})",
                cookie.bookie, cookie.instance_id
            )),
            Ok(_) => {}
        }
    }
    match registry::bookies(store, scope).await {
        Err(error) => report.problems.push(error.to_string()),
        Ok(bookies) => {
            report.bookies = bookies.len();
            for bookie in bookies {
                if bookie.standing != registry::Standing::Absent && !bookie.has_cookie {
                    report.problems.push(format!("bookie {} is registered and has no cookie", bookie.id));
                }
            }
        }
    }
    Ok(())
}

async fn check_ledgers(store: &Arc<dyn Store>, scope: &Scope, report: &mut Report) -> Result<(), Error> {
    let ledgers = Ledgers::new(store.clone(), scope.clone(), 0);
    let mut after = None;
    loop {
        let page = ledgers.list(after, 500).await?;
        report.ledgers += page.ledgers.len() + page.unreadable.len();
        report.problems.extend(page.unreadable.iter().map(|(_, error)| error.to_string()));
        if !page.more {
            return Ok(());
        }
        after = page.after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_or_refused_with_a_reason() -> Result<(), Error> {
        let scope = Scope::new("/a/b")?;
        let endpoints = vec!["h:1".to_owned(), "i:2".to_owned()];
        assert_eq!(Address::parse("etcd://h:1,i:2/a/b")?, Address::Etcd { endpoints, scope });
        assert!(matches!(Address::parse("embedded:///x/y")?, Address::Embedded { .. }));
        for (uri, why) in [
            ("zk+hierarchical://z:2181/ledgers", "ZooKeeper"),
            ("etcd://h:1", "no scope"),
            ("etcd://h/x", "host:port"),
            ("h:1/x", "scheme"),
            ("embedded://x", "absolute"),
            ("consul://h:1/x", "'consul'"),
        ] {
            let told = Address::parse(uri).map_err(|error| error.to_string());
            assert!(matches!(&told, Err(text) if text.contains(why)), "{uri}: {told:?}");
        }
        Ok(())
    }
}
