//! Which bookies there are: their registrations, what they say of themselves, their cookies.

mod cookies;
mod directory;
mod registration;

use std::collections::BTreeMap;

use protocol::BookieId;

use crate::schema::Published;
use crate::{Error, KeyValue, Scope, Store};

pub use cookies::{list_cookies, read_cookie, remove_cookie, write_cookie};
pub use directory::{Directory, follow};
pub use registration::{Registration, RegistrationState};

/// How many keys are read at once.
const PAGE: usize = 1000;

/// How a bookie is registered now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Takes new ledgers.
    Writable,
    /// Serves reads, fences and repair.
    Readonly,
    /// Known by its cookie or its publication, and not here now.
    Absent,
}

/// Everything that is known of one bookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookieInfo {
    pub id: BookieId,
    pub standing: Standing,
    /// Where to dial: the published address, else the id itself (Apache's bookies).
    pub address: String,
    /// Empty when it has none.
    pub zone: String,
    /// None for Apache's bookies.
    pub incarnation: Option<u64>,
    /// Bytes; none when it did not publish any.
    pub free: Option<u64>,
    pub total: Option<u64>,
    /// Bytes per second that are written to it; none when it does not tell.
    pub written_per_second: Option<u64>,
    pub http: Option<String>,
    /// It says that its disks are about to be full.
    pub short: bool,
    /// Its operator wants it emptied: no new ledgers, and repair moves what it has elsewhere.
    pub draining: bool,
    pub has_cookie: bool,
}

impl BookieInfo {
    /// Whether a new ledger may name it.
    pub fn takes_ledgers(&self) -> bool {
        self.standing == Standing::Writable && !self.draining
    }

    fn absent(id: BookieId) -> BookieInfo {
        BookieInfo {
            address: id.to_string(),
            id,
            standing: Standing::Absent,
            zone: String::new(),
            incarnation: None,
            free: None,
            total: None,
            written_per_second: None,
            http: None,
            short: false,
            draining: false,
            has_cookie: false,
        }
    }

    fn add(&mut self, published: Published) {
        if !published.address.is_empty() {
            self.address = published.address;
        }
        self.zone = published.zone;
        self.incarnation = Some(published.incarnation);
        self.http = published.http;
        self.short = published.short;
        self.written_per_second = published.written_per_second;
        if published.total_bytes > 0 {
            self.free = Some(published.free_bytes);
            self.total = Some(published.total_bytes);
        }
    }
}

/// All bookies that have a registration, a cookie or a publication, by id.
pub async fn bookies(store: &dyn Store, scope: &Scope) -> Result<Vec<BookieInfo>, Error> {
    let mut found = BTreeMap::new();
    for under in ["cookies/", "strata/bookies/", "strata/drain/", "bookies/readonly/", "bookies/writable/"] {
        for entry in read_all(store, &scope.key(under)).await? {
            let Some(id) = scope.bookie_of(&entry.key, under) else { continue };
            let info = found.entry(id.clone()).or_insert_with(|| BookieInfo::absent(id.clone()));
            match under {
                "cookies/" => info.has_cookie = true,
                "strata/drain/" => info.draining = true,
                "bookies/readonly/" => info.standing = Standing::Readonly,
                "bookies/writable/" => info.standing = Standing::Writable,
                _ => info.add(Published::decode(&id, &entry.value)?),
            }
        }
    }
    Ok(found.into_values().collect())
}

/// All keys below `prefix`.
pub async fn read_all(store: &dyn Store, prefix: &str) -> Result<Vec<KeyValue>, Error> {
    let mut all: Vec<KeyValue> = Vec::new();
    loop {
        let page = store.range(prefix, all.last().map(|last| last.key.as_str()), PAGE).await?;
        let empty = page.entries.is_empty();
        all.extend(page.entries);
        if !page.more || empty {
            return Ok(all);
        }
    }
}
