//! Metadata is away.

use super::*;

#[tokio::test(start_paused = true)]
async fn while_metadata_is_away_entries_are_acknowledged_and_a_roll_waits() {
    let model = Model::new(4, 1);
    let log = open(&model).await;
    fill(&log, 0, 20).await;
    sleep(Duration::from_millis(100)).await;
    model.store.set_down(true);
    fill(&log, 20, 3000).await;
    let (_, size) =
        log.links().await.map(|l| (l.len(), log.progress().borrow().acknowledged.0)).expect("lists");
    assert!(size > suite::limits().roll_bytes, "beyond the size at which it rolls");
    model.store.set_down(false);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(log.links().await.expect("lists").len(), 2);
    let (_, ensemble) = tip_ensemble(&model, &log).await;
    model.store.set_down(true);
    ensemble.iter().take(2).for_each(|id| model.bookies.set(number(id), Mood::Down));
    let end = append(&log, 3020, 10).await;
    health(&log, |h| matches!(h, Health::Stalled(_))).await;
    assert!(log.progress().borrow().acknowledged < end);
    ensemble.iter().for_each(|id| model.bookies.set(number(id), Mood::Well));
    model.store.set_down(false);
    acknowledged(&*log, end).await.expect("goes on");
    check(&log, 3030).await;
}

/// A log, and a bookie of its ledger that the one made ahead does without.
async fn with_one_to_lose() -> (Model, Arc<dyn Log>, BookieId) {
    for seed in 0..100 {
        let model = Model::new(4, seed);
        let log = open(&model).await;
        fill(&log, 0, 20).await;
        sleep(Duration::from_millis(100)).await;
        let prefix = model.cluster.ledgers.scope().vb_ready(name().as_str());
        let keys = model.store.keys();
        let ready = keys.iter().find_map(|key| key.strip_prefix(&prefix)?.parse().ok().map(LedgerId));
        let ready = model.cluster.stored(ready.expect("one is made ahead")).await.expect("reads");
        let (_, ensemble) = tip_ensemble(&model, &log).await;
        let lost = ensemble.into_iter().find(|bookie| !ready.metadata.segments[0].ensemble.contains(bookie));
        if let Some(lost) = lost {
            return (model, log, lost);
        }
    }
    panic!("they always have the same bookies");
}

/// The better ledger is there, and the one that acknowledges is not left before that can be linked.
#[tokio::test(start_paused = true)]
async fn a_bookie_lost_while_metadata_is_away_stops_nobody() {
    for mood in [Mood::Down, Mood::Silent, Mood::Late] {
        let (model, log, lost) = with_one_to_lose().await;
        model.store.set_down(true);
        model.bookies.set(number(&lost), mood);
        for n in 20..40 {
            let stored = tokio::time::timeout(Duration::from_secs(1), fill(&log, n, 1)).await;
            assert!(stored.is_ok(), "{mood:?}: {:?}", log.progress().borrow().health);
            sleep(Duration::from_millis(900)).await;
        }
        model.store.set_down(false);
        sleep(Duration::from_secs(1)).await;
        fill(&log, 40, 20).await;
        sleep(Duration::from_secs(12)).await;
        assert!(!tip_ensemble(&model, &log).await.1.contains(&lost), "{mood:?}: it is left once it can be");
        check(&log, 60).await;
    }
}
