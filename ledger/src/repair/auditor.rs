//! The auditor: compares what ledgers name with the bookies there are, and files what is to be repaired.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use metadata::registry::read_all;
use metadata::schema::{AtRisk, Damage};
use metadata::{Compare, Scope, Store, Stored, Txn, commit, election};
use planted::Bug;
use protocol::{BookieId, LedgerId};
use tokio::time::{Instant, sleep};

use super::lost::Watchman;
use super::mend::damage_of;
use super::tasks::{read, swap};
use super::{AUDITOR, Lost, Metrics, Pace, Settings, check_ledger, file};
use crate::{Cluster, Error, recover};

const PAGE: usize = 500;

/// What one walk over all ledgers found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    pub ledgers: u64,
    /// Closed ledgers that are to be repaired.
    pub filed: u64,
    /// Ledgers that are not closed and have lost a bookie.
    pub at_risk: BTreeMap<LedgerId, AtRisk>,
    /// Ledgers whose metadata cannot be read.
    pub unreadable: u64,
    /// Bookies that ledgers name and nothing else knows.
    pub named_only: BTreeSet<BookieId>,
}

/// Stands for the office for ever, and audits while it has it.
pub(super) async fn run(cluster: Cluster, settings: Settings, pace: Pace, metrics: Arc<Metrics>) {
    let (store, scope) = (cluster.ledgers.store().clone(), cluster.ledgers.scope().clone());
    loop {
        match election::stand(store.clone(), &scope, AUDITOR, &settings.name, settings.lease).await {
            Ok(office) => {
                tracing::info!(epoch = office.epoch, "auditing");
                metrics.auditing.set(1);
                tokio::select! {
                    biased;
                    () = office.lost() => tracing::info!("another one audits"),
                    () = serve(&cluster, &settings, &pace, &metrics) => {}
                }
                metrics.auditing.set(0);
                office.resign().await;
            }
            Err(error) => tracing::error!(%error, "the auditor cannot be elected"),
        }
        sleep(settings.look_every).await;
    }
}

/// Filing a task twice, or one that is needless, does no harm: so an auditor that has lost its office and does not
/// know it yet does none.
async fn serve(cluster: &Cluster, settings: &Settings, pace: &Pace, metrics: &Metrics) {
    let mut watchman = Watchman::default();
    let mut audited: Option<(Lost, Instant)> = None;
    let mut checked = Instant::now();
    loop {
        match look(cluster, settings, &mut watchman).await {
            Ok(None) => {}
            Ok(Some(lost)) => {
                let due = audited.as_ref().is_none_or(|(before, at)| {
                    before.bookies().ne(lost.bookies())
                        || before.well != lost.well
                        || at.elapsed() >= settings.audit_every
                });
                if due {
                    match audit(cluster, settings, &lost).await {
                        Ok(found) => {
                            metrics.audits.add(1);
                            metrics.filed.add(found.filed);
                            metrics.at_risk.set(found.at_risk.len() as u64);
                            watchman.named_only = found.named_only;
                            audited = Some((lost, Instant::now()));
                        }
                        Err(error) => tracing::warn!(%error, "the audit was not finished; it is tried again"),
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "the auditor cannot see who is there; it tries again"),
        }
        if checked.elapsed() >= settings.check_every {
            checked = Instant::now();
            match check_all(cluster, settings, pace, metrics).await {
                Ok(()) => metrics.checks.add(1),
                Err(error) => {
                    tracing::warn!(%error, "the check of all entries was not finished; it is tried again")
                }
            }
        }
        sleep(settings.look_every).await;
    }
}

/// Who is lost now; none while repair is paused.
async fn look(
    cluster: &Cluster,
    settings: &Settings,
    watchman: &mut Watchman,
) -> Result<Option<Lost>, Error> {
    let (store, scope) = (&**cluster.ledgers.store(), cluster.ledgers.scope());
    let bookies = cluster.registered().await?;
    let lost = watchman.look(store, scope, &bookies, settings.grace).await?;
    let paused = store.get(&scope.replication_paused()).await?.is_some();
    Ok((!paused).then_some(lost))
}

/// Walks over all ledgers: files tasks, and renews the list of those at risk.
pub async fn audit(cluster: &Cluster, settings: &Settings, lost: &Lost) -> Result<Audit, Error> {
    let (store, scope) = (&**cluster.ledgers.store(), cluster.ledgers.scope());
    let known: BTreeSet<BookieId> = cluster.registered().await?.into_iter().map(|info| info.id).collect();
    let mut found = Audit::default();
    let mut after = None;
    loop {
        let page = cluster.ledgers.list(after, PAGE).await?;
        for (ledger, error) in &page.unreadable {
            tracing::error!(%ledger, %error, "a ledger cannot be audited");
        }
        found.unreadable += page.unreadable.len() as u64;
        for stored in page.ledgers {
            let members = stored.metadata.segments.iter().flat_map(|segment| &segment.ensemble);
            found.named_only.extend(members.filter(|member| !known.contains(*member)).cloned());
            look_at(cluster, settings, lost, &stored, &mut found).await?;
        }
        if !page.more {
            break;
        }
        after = page.after;
    }
    write_at_risk(store, scope, &found.at_risk).await?;
    give_another_chance(store, scope, settings).await?;
    if found.filed > 0 || !found.at_risk.is_empty() {
        tracing::info!(filed = found.filed, at_risk = found.at_risk.len(), "audited; repairs are filed");
    }
    Ok(found)
}

async fn look_at(
    cluster: &Cluster,
    settings: &Settings,
    lost: &Lost,
    stored: &Stored,
    found: &mut Audit,
) -> Result<(), Error> {
    found.ledgers += 1;
    let damage = damage_of(&stored.metadata, lost);
    if damage.is_empty() {
        return Ok(());
    }
    if stored.metadata.is_closed() {
        file(&**cluster.ledgers.store(), cluster.ledgers.scope(), stored.id, &damage).await?;
        found.filed += 1;
        return Ok(());
    }
    let link = stored.metadata.is_log_link();
    let may_close = (settings.closes_open_ledgers && !link) || (link && planted::on(Bug::RepairClosesLinks));
    if may_close {
        match recover(cluster, stored.id).await {
            Ok(closed) => {
                let damage = damage_of(&closed.metadata, lost);
                file(&**cluster.ledgers.store(), cluster.ledgers.scope(), stored.id, &damage).await?;
                found.filed += 1;
                return Ok(());
            }
            Err(error) => {
                tracing::warn!(ledger = %stored.id, %error, "an open ledger at risk cannot be recovered")
            }
        }
    }
    found.at_risk.insert(stored.id, at_risk(stored, &damage));
    Ok(())
}

fn at_risk(stored: &Stored, damage: &[Damage]) -> AtRisk {
    let log = stored.metadata.origin().filter(|_| stored.metadata.is_log_link()).map(|origin| origin.vb);
    AtRisk {
        bookies: damage.iter().map(|damage| damage.bookie.clone()).collect(),
        log: log.unwrap_or_default(),
    }
}

/// Makes the stored list say what was found.
async fn write_at_risk(
    store: &dyn Store,
    scope: &Scope,
    found: &BTreeMap<LedgerId, AtRisk>,
) -> Result<(), Error> {
    let mut written = BTreeSet::new();
    for entry in read_all(store, &scope.replication_at_risk()).await? {
        let Some(ledger) = scope.replication_at_risk_ledger(&entry.key) else { continue };
        written.insert(ledger);
        let compare = Compare::Unchanged(entry.key.clone(), entry.modified);
        let txn = match found.get(&ledger).map(AtRisk::encode) {
            Some(value) if value == entry.value => continue,
            Some(value) => Txn::default().compare(compare).put(entry.key, value),
            None => Txn::default().compare(compare).delete(entry.key),
        };
        commit(store, txn).await?;
    }
    for (ledger, risk) in found.iter().filter(|(ledger, _)| !written.contains(*ledger)) {
        let key = scope.replication_at_risk_of(*ledger);
        let txn = Txn::default().compare(Compare::Absent(key.clone())).put(key, risk.encode());
        commit(store, txn).await?;
    }
    Ok(())
}

/// What kept a ledger from being repaired may be over: each that was set aside is tried once more.
async fn give_another_chance(store: &dyn Store, scope: &Scope, settings: &Settings) -> Result<(), Error> {
    for entry in read_all(store, &scope.replication_tasks()).await? {
        let Some(ledger) = scope.replication_task_of(&entry.key) else { continue };
        let Some(mut filed) = read(store, scope, ledger).await?.filter(|filed| filed.task.quarantined) else {
            continue;
        };
        filed.task.quarantined = false;
        filed.task.attempts = settings.attempts.saturating_sub(1);
        swap(store, scope, ledger, Some(filed.version), Some(&filed.task)).await?;
    }
    Ok(())
}

/// Asks bookies for the entries of all closed ledgers, and files what they lack.
async fn check_all(
    cluster: &Cluster,
    settings: &Settings,
    pace: &Pace,
    metrics: &Metrics,
) -> Result<(), Error> {
    let mut after = None;
    loop {
        let page = cluster.ledgers.list(after, PAGE).await?;
        for stored in page.ledgers.iter().filter(|stored| stored.metadata.is_closed()) {
            let checked = check_ledger(cluster, pace, stored, settings.checked_percent).await?;
            metrics.silent.add(checked.silent.len() as u64);
            if !checked.damage.is_empty() {
                metrics.lacking.add(1);
                tracing::warn!(ledger = %stored.id, damage = ?checked.damage, "bookies lack entries; repair is filed");
                file(&**cluster.ledgers.store(), cluster.ledgers.scope(), stored.id, &checked.damage).await?;
            }
        }
        if !page.more {
            return Ok(());
        }
        after = page.after;
    }
}
