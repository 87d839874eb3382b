use std::collections::BTreeSet;

use metadata::registry::Standing;
use metadata::schema::LedgerTask;
use protocol::bookie::{Refusal, Request};
use protocol::{BookieId, LedgerId};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::log::{Health, acknowledged, append_when_room, suite};
use crate::model::{Model, Mood, bookie};

mod away;

fn settings(e: u32, w: u32, a: u32, limits: Limits) -> ChainSettings {
    let quorums = Quorums::new(e, w, a).unwrap_or_else(|_| unreachable!("good quorums"));
    ChainSettings { limits, ..ChainSettings::new("test", quorums) }
}

fn logs(model: &Model, limits: Limits) -> ChainLogs {
    ChainLogs::new(model.cluster.clone(), settings(3, 3, 2, limits))
}

mod whole {
    use super::*;
    crate::log_conformance!(
        |limits| async move { Arc::new(logs(&Model::new(4, 1), limits)) as Arc<dyn Logs> }
    );
}

mod striped {
    use super::*;
    crate::log_conformance!(|limits| async move {
        let model = Model::new(5, 2);
        Arc::new(ChainLogs::new(model.cluster.clone(), settings(4, 2, 2, limits))) as Arc<dyn Logs>
    });
}

fn name() -> LogName {
    LogName::new("vb-0").unwrap_or_else(|_| unreachable!("a good name"))
}

async fn open(model: &Model) -> Arc<dyn Log> {
    logs(model, suite::limits()).open(&name()).await.expect("opens")
}

fn body(i: usize) -> Bytes {
    let mut body = format!("{i} ").into_bytes();
    body.resize(10 + i * 37 % 400, b'.');
    body.into()
}

async fn append(log: &Arc<dyn Log>, from: usize, n: usize) -> Position {
    let mut end = Position::START;
    for i in from..from + n {
        end = append_when_room(&**log, &[body(i)]).await.expect("takes it").after(body(i).len());
    }
    end
}

async fn fill(log: &Arc<dyn Log>, from: usize, n: usize) {
    let end = append(log, from, n).await;
    acknowledged(&**log, end).await.expect("acknowledges");
}

/// Reads everything, and checks that it is entries 0 to `n`.
async fn check(log: &Arc<dyn Log>, n: usize) {
    let mut at = Position::START;
    let mut i = 0;
    loop {
        let entries = log.read(at, 10_000).await.expect("reads");
        let Some(last) = entries.last() else { break };
        at = last.end();
        for entry in entries {
            assert_eq!(entry.body, body(i), "entry {i}");
            i += 1;
        }
    }
    assert_eq!(i, n);
}

async fn health(log: &Arc<dyn Log>, wanted: impl Fn(&Health) -> bool) {
    let mut progress = log.progress();
    let reached =
        tokio::time::timeout(Duration::from_secs(60), progress.wait_for(|p| wanted(&p.health))).await;
    assert!(matches!(reached, Ok(Ok(_))), "the health stays {:?}", log.progress().borrow().health);
}

async fn tip_ensemble(model: &Model, log: &Arc<dyn Log>) -> (LedgerId, Vec<BookieId>) {
    let links = log.links().await.expect("lists");
    let ledger = links.last().expect("there is a link").ledger;
    let stored = model.cluster.stored(ledger).await.expect("reads");
    (ledger, stored.metadata.segments[0].ensemble.clone())
}

fn number(id: &BookieId) -> usize {
    (0..9).find(|&n| bookie(n) == *id).expect("one of the model's")
}

#[tokio::test(start_paused = true)]
async fn a_lost_bookie_is_left_behind_at_once() {
    let model = Model::new(4, 1);
    let log = open(&model).await;
    fill(&log, 0, 50).await;
    sleep(Duration::from_millis(100)).await;
    let (first, ensemble) = tip_ensemble(&model, &log).await;
    model.bookies.set(number(&ensemble[1]), Mood::Down);
    let began = Instant::now();
    fill(&log, 50, 50).await;
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
    sleep(Duration::from_millis(200)).await;
    fill(&log, 100, 10).await;
    let (second, healthy) = tip_ensemble(&model, &log).await;
    assert!(second != first && !healthy.contains(&ensemble[1]), "goes on without it: {healthy:?}");
    assert_eq!(log.progress().borrow().health, Health::Good);
    check(&log, 110).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_bookie_turned_out_to_lack_is_filed_for_repair() {
    let model = Model::new(4, 1);
    let log = open(&model).await;
    fill(&log, 0, 50).await;
    sleep(Duration::from_millis(100)).await;
    let (first, ensemble) = tip_ensemble(&model, &log).await;
    model.bookies.set(number(&ensemble[1]), Mood::Silent);
    fill(&log, 50, 50).await;
    sleep(Duration::from_secs(5)).await;
    fill(&log, 100, 10).await;
    assert_ne!(tip_ensemble(&model, &log).await.0, first);
    let key = model.cluster.ledgers.scope().replication_task(first);
    let task = model.cluster.ledgers.store().get(&key).await.expect("reads").expect("a task is filed");
    let task = LedgerTask::decode(first, &task.value).expect("is readable");
    assert_eq!(task.damage.len(), 1);
    assert_eq!(task.damage[0].bookie, ensemble[1].to_string());
    assert_eq!(task.damage[0].lacks, [(50, 99)]);
    assert_eq!(log.progress().borrow().health, Health::Good);
    check(&log, 110).await;
}

#[tokio::test(start_paused = true)]
async fn with_no_spare_it_goes_on_reduced_and_is_whole_again_later() {
    let model = Model::new(3, 1);
    let log = open(&model).await;
    fill(&log, 0, 20).await;
    model.bookies.set(2, Mood::Down);
    model.register(2, Standing::Absent);
    fill(&log, 20, 20).await;
    health(&log, |h| *h == Health::Reduced(vec![bookie(2)])).await;
    log.roll().await.expect("rolls, naming the absent one");
    fill(&log, 40, 20).await;
    assert_eq!(log.progress().borrow().health, Health::Reduced(vec![bookie(2)]));
    model.bookies.set(2, Mood::Well);
    model.register(2, Standing::Writable);
    health(&log, |h| *h == Health::Good).await;
    fill(&log, 60, 20).await;
    check(&log, 80).await;
    assert!(log.links().await.expect("lists").len() <= 4, "no ledger without a reason");
}

#[tokio::test(start_paused = true)]
async fn without_an_ack_quorum_it_stalls_and_goes_on_by_itself() {
    let model = Model::new(3, 1);
    let log = open(&model).await;
    fill(&log, 0, 20).await;
    for n in [1, 2] {
        model.bookies.set(n, Mood::Down);
        model.register(n, Standing::Absent);
    }
    let end = append(&log, 20, 20).await;
    health(&log, |h| matches!(h, Health::Stalled(why) if why.contains("b0:3181"))).await;
    sleep(Duration::from_secs(60)).await;
    assert!(log.progress().borrow().acknowledged < end);
    for n in [1, 2] {
        model.bookies.set(n, Mood::Well);
        model.register(n, Standing::Writable);
    }
    acknowledged(&*log, end).await.expect("goes on");
    check(&log, 40).await;
    assert!(log.links().await.expect("lists").len() <= 3);
}

#[tokio::test(start_paused = true)]
async fn a_fenced_add_makes_only_the_loser_step_down() {
    let model = Model::new(4, 1);
    let log = open(&model).await;
    fill(&log, 0, 20).await;
    let (first, ensemble) = tip_ensemble(&model, &log).await;
    model.bookies.set(number(&ensemble[0]), Mood::RefusingAdds(Refusal::Fenced));
    let end = append(&log, 20, 30).await;
    sleep(Duration::from_millis(5)).await;
    model.bookies.set(number(&ensemble[0]), Mood::Well);
    acknowledged(&*log, end).await.expect("goes on in another ledger");
    assert_ne!(tip_ensemble(&model, &log).await.0, first);
    check(&log, 50).await;
}

/// Somebody recovers the last ledger without owning the log (an operator's tool): what it found is adopted.
#[tokio::test(start_paused = true)]
async fn a_ledger_closed_behind_what_was_acknowledged_is_adopted() {
    let model = Model::new(4, 1);
    let log = open(&model).await;
    fill(&log, 0, 20).await;
    let (first, ensemble) = tip_ensemble(&model, &log).await;
    ensemble.iter().take(2).for_each(|id| model.bookies.set(number(id), Mood::Mute));
    let end = append(&log, 20, 30).await;
    sleep(Duration::from_millis(5)).await;
    ensemble.iter().for_each(|id| model.bookies.set(number(id), Mood::Well));
    let closed = recover(&model.cluster, first).await.expect("recovers");
    assert_eq!(closed.metadata.state, State::Closed { last: EntryId(49), length: end.0 as i64 + 50 * 32 });
    fill(&log, 50, 10).await;
    check(&log, 60).await;
    let links = log.links().await.expect("lists");
    assert_eq!(links[0].end, Some(end), "the whole of what was closed is the link");
}

#[tokio::test(start_paused = true)]
async fn unclear_transactions_are_settled_by_reading() {
    for unclear in 0..12 {
        let model = Model::new(4, unclear as u64);
        model.store.ambiguous_after(unclear);
        let log = open(&model).await;
        let mut n = 0;
        for _ in 0..4 {
            fill(&log, n, 15).await;
            n += 15;
            log.roll().await.expect("rolls");
        }
        check(&log, n).await;
        log.seal().await.expect("seals");
        let log = open(&model).await;
        check(&log, n).await;
        let links = log.links().await.expect("lists");
        assert!(links.windows(2).all(|pair| pair[0].end == Some(pair[1].base)));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_ledgers_that_were_never_linked() {
    let model = Model::new(4, 1);
    for round in 0..4 {
        let log = open(&model).await;
        fill(&log, round * 10, 10).await;
        sleep(Duration::from_secs(1)).await;
        log.roll().await.expect("rolls");
        sleep(Duration::from_secs(1)).await;
    }
    let log = open(&model).await;
    assert_eq!(log.trim(Position(u64::MAX)).await, Ok(log.links().await.expect("lists")[0].base));
    log.seal().await.expect("seals");
    let keys = model.store.keys();
    let ledgers = keys.iter().filter(|key| key.contains("/ledgers/")).count();
    assert_eq!(ledgers, 1, "{keys:?}");
    assert!(keys.iter().all(|key| !key.contains("/ready/")), "{keys:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_bookie_is_left_at_most_every_ten_seconds() {
    let model = Model::new(6, 1);
    let log = open(&model).await;
    fill(&log, 0, 10).await;
    let mut n = 10;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(25) {
        let (_, ensemble) = tip_ensemble(&model, &log).await;
        (0..6).for_each(|n| model.bookies.set(n, Mood::Well));
        model.bookies.set(number(&ensemble[0]), Mood::Late);
        fill(&log, n, 1).await;
        n += 1;
        sleep(Duration::from_millis(700)).await;
    }
    let links = log.links().await.expect("lists").len();
    assert!((3..=5).contains(&links), "{links} links in 25 s");
    check(&log, n).await;
}

#[tokio::test(start_paused = true)]
async fn a_window_larger_than_a_ledger_is_acknowledged_all_the_same() {
    let model = Model::new(4, 1);
    let log = logs(&model, Limits { roll_bytes: 1, ..suite::limits() });
    let log = log.open(&name()).await.expect("opens");
    let end = append(&log, 0, 20).await;
    tokio::time::timeout(Duration::from_secs(20), acknowledged(&*log, end))
        .await
        .expect("no rolling for ever")
        .expect("goes on");
    check(&log, 20).await;
}

#[tokio::test(start_paused = true)]
async fn an_old_ledger_is_rolled() {
    let model = Model::new(4, 1);
    let limits = Limits { roll_age: Duration::from_secs(60), ..suite::limits() };
    let log = logs(&model, limits).open(&name()).await.expect("opens");
    sleep(Duration::from_secs(300)).await;
    assert_eq!(log.links().await.expect("lists").len(), 1, "an empty one is not");
    fill(&log, 0, 10).await;
    sleep(Duration::from_secs(70)).await;
    assert_eq!(log.links().await.expect("lists").len(), 2);
}

/// Owners come and go, bookies fall over and get up, the store is unclear: what was acknowledged stays, in order,
/// at the position it was given.
#[tokio::test(start_paused = true)]
async fn nothing_acknowledged_is_ever_lost() {
    for seed in 0..12 {
        let model = Model::new(5, seed);
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut acked: Vec<Entry> = Vec::new();
        let mut counter = 0;
        for _ in 0..4 {
            let log = logs(&model, Limits { roll_bytes: 20_000, ..suite::limits() });
            (0..5).for_each(|n| model.bookies.set(n, Mood::Well));
            let log = log.open(&name()).await.unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            let appender = tokio::spawn(appending(log.clone(), counter));
            counter += 100_000;
            for _ in 0..6 {
                sleep(Duration::from_millis(rng.random_range(1..400))).await;
                trouble(&model, &mut rng);
            }
            if rng.random_bool(0.3) {
                (0..5).for_each(|n| model.bookies.set(n, Mood::Well));
                let _ = log.seal().await;
            }
            (0..5).for_each(|n| model.bookies.set(n, Mood::Well));
            let thief =
                logs(&model, suite::limits()).open(&name()).await.unwrap_or_else(|e| panic!("{seed}: {e}"));
            sleep(Duration::from_secs(5)).await;
            log.append(&[Bytes::from_static(b"wake up")]).ok();
            acked.extend(appender.await.expect("ends"));
            verify(&thief, &acked, seed).await;
        }
    }
}

async fn appending(log: Arc<dyn Log>, first: usize) -> Vec<Entry> {
    let mut sent = std::collections::VecDeque::new();
    let mut acked = Vec::new();
    let progress = log.progress();
    for i in first.. {
        let body = body(i);
        let taken = tokio::select! {
            biased;
            taken = append_when_room(&*log, std::slice::from_ref(&body)) => taken,
            () = sleep(Duration::from_secs(100)) => break,
        };
        let Ok(position) = taken else { break };
        sent.push_back(Entry { position, body });
        if i % 3 == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        let reached = progress.borrow().acknowledged;
        while sent.front().is_some_and(|e: &Entry| e.end() <= reached) {
            acked.extend(sent.pop_front());
        }
    }
    let reached = progress.borrow().acknowledged;
    acked.extend(sent.into_iter().take_while(|e| e.end() <= reached));
    acked
}

fn trouble(model: &Model, rng: &mut SmallRng) {
    let n = rng.random_range(0..5);
    let mood = match rng.random_range(0..7) {
        0 => Mood::Down,
        1 => Mood::Mute,
        2 => Mood::Silent,
        3 => Mood::RefusingAdds(Refusal::Fenced),
        4 => Mood::Refusing(Refusal::Io),
        _ => Mood::Well,
    };
    // One at a time: more than Qa - 1 bookies that forget nothing may be away, but then nothing happens.
    (0..5).for_each(|n| model.bookies.set(n, Mood::Well));
    model.bookies.set(n, mood);
    if rng.random_bool(0.3) {
        model.store.ambiguous_after(rng.random_range(0..3));
    }
}

async fn verify(log: &Arc<dyn Log>, acked: &[Entry], seed: u64) {
    let mut stored = BTreeSet::new();
    let mut at = Position::START;
    loop {
        let entries = log.read(at, 50_000).await.unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let Some(last) = entries.last() else { break };
        assert_eq!(entries[0].position, at, "seed {seed}");
        at = last.end();
        stored.extend(entries.into_iter().map(|e| (e.position, e.body)));
    }
    for entry in acked {
        let kept = stored.contains(&(entry.position, entry.body.clone()));
        assert!(kept, "seed {seed}: what was acknowledged at {} is gone", entry.position);
    }
}

#[tokio::test(start_paused = true)]
async fn parts_are_read_without_their_entries() {
    let model = Model::new(3, 5);
    let limits = Limits { roll_bytes: 1 << 40, window_bytes: 1 << 30, ..Limits::default() };
    let log = logs(&model, limits).open(&name()).await.expect("opens");
    let end = append(&log, 0, 20_000).await;
    acknowledged(&*log, end).await.expect("acknowledges");
    model.bookies.watch();
    let middle = body(12_345);
    let at = (0..12_345).fold(Position::START, |at, i| at.after(body(i).len()));
    assert_eq!(log.read_part(at.after(3), middle.len() - 3).await, Some(middle.slice(3..)));
    let sent = model.bookies.sent();
    let cheap = |request: &Request| matches!(request, Request::Lengths { .. } | Request::ReadRange { .. });
    assert!(sent.iter().all(|(_, request)| cheap(request)) && sent.len() < 10, "{sent:?}");
    // What lies near is known by now.
    assert_eq!(log.read_part(at.after(middle.len()), 10).await, Some(body(12_346).slice(..10)));
    assert_eq!(model.bookies.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_part_comes_from_any_bookie_that_has_it() {
    let model = Model::new(3, 6);
    let log = open(&model).await;
    let end = append(&log, 0, 100).await;
    acknowledged(&*log, end).await.expect("acknowledges");
    for down in 0..2 {
        model.bookies.set(down, if down == 0 { Mood::Down } else { Mood::Mute });
        assert_eq!(log.read_part(Position::START, 5).await, Some(body(0).slice(..5)), "without {down}");
    }
    model.bookies.set(2, Mood::Down);
    assert_eq!(log.read_part(Position::START, 5).await, None);
}

/// It says so while entries still fit; and what has stalled goes on as soon as bookies say that they have room.
#[tokio::test(start_paused = true)]
async fn a_log_says_that_disks_run_full_and_goes_on_when_they_have_room() {
    let model = Model::new(3, 1);
    let (store, scope) = (model.cluster.ledgers.store().clone(), model.cluster.ledgers.scope().clone());
    let directory = metadata::registry::follow(store, scope).await.expect("follows");
    let log = logs(&model, suite::limits()).following(directory).open(&name()).await.expect("opens");
    fill(&log, 0, 20).await;
    log.roll().await.expect("rolls");
    model.say_short(0, true);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(log.progress().borrow().health, Health::Good, "two of three are enough");
    model.say_short(1, true);
    health(&log, |h| matches!(h, Health::Short(why) if why.contains("disk full") && why.contains("b1")))
        .await;
    fill(&log, 20, 20).await;
    let thinned = log.thin(Position::START, &|_| Ok(Vec::new())).await;
    assert!(
        matches!(thinned, Err(Error::Unavailable(why)) if why.contains("disk full")),
        "what is left is for others"
    );
    for n in [0, 1] {
        model.bookies.set(n, Mood::RefusingAdds(Refusal::ReadOnly));
        model.register(n, Standing::Readonly);
        model.say_short(n, true);
    }
    let end = append(&log, 40, 20).await;
    health(&log, |h| matches!(h, Health::Stalled(why) if why.contains("disk full"))).await;
    sleep(Duration::from_secs(60)).await;
    for n in [0, 1] {
        model.bookies.set(n, Mood::Well);
        model.register(n, Standing::Writable);
    }
    acknowledged(&*log, end).await.expect("goes on");
    health(&log, |h| *h == Health::Good).await;
    check(&log, 60).await;
}
