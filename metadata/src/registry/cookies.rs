//! Cookies in the store. The copies on disks are the bookie's.

use protocol::BookieId;

use super::read_all;
use crate::schema::Cookie;
use crate::{Compare, Error, Revision, Scope, Store, Txn, TxnOutcome, commit};

pub async fn read_cookie(
    store: &dyn Store,
    scope: &Scope,
    bookie: &BookieId,
) -> Result<Option<(Cookie, Revision)>, Error> {
    let key = scope.cookie(bookie);
    let Some(found) = store.get(&key).await? else { return Ok(None) };
    Ok(Some((Cookie::decode(&key, &found.value)?, found.modified)))
}

/// Stores a cookie: a new one, or in place of that at `replaces`. False if another came first.
pub async fn write_cookie(
    store: &dyn Store,
    scope: &Scope,
    cookie: &Cookie,
    replaces: Option<Revision>,
) -> Result<bool, Error> {
    let key = scope.cookie(&cookie.bookie);
    let compare = match replaces {
        Some(revision) => Compare::Unchanged(key.clone(), revision),
        None => Compare::Absent(key.clone()),
    };
    let outcome = commit(store, Txn::default().compare(compare).put(key, cookie.encode())).await?;
    Ok(matches!(outcome, TxnOutcome::Done(_)))
}

/// Removes the cookie of a bookie that is gone for good, with what it published. False if it changed meanwhile.
pub async fn remove_cookie(
    store: &dyn Store,
    scope: &Scope,
    bookie: &BookieId,
    version: Revision,
) -> Result<bool, Error> {
    let key = scope.cookie(bookie);
    let txn = Txn::default()
        .compare(Compare::Unchanged(key.clone(), version))
        .delete(key)
        .delete(scope.published(bookie))
        .delete(scope.key(&format!("strata/disks/{bookie}")));
    Ok(matches!(commit(store, txn).await?, TxnOutcome::Done(_)))
}

pub async fn list_cookies(store: &dyn Store, scope: &Scope) -> Result<Vec<Cookie>, Error> {
    let mut cookies = Vec::new();
    for entry in read_all(store, &scope.key("cookies/")).await? {
        cookies.push(Cookie::decode(&entry.key, &entry.value)?);
    }
    Ok(cookies)
}
