//! What every log must do, whatever it is made of. [`log_conformance!`](crate::log_conformance) makes a test of each.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use net::Wake;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Entry, Log, LogName, Logs, Position, Refused, acknowledged, append_when_room};
use crate::error::{Ended, Error};

/// Makes a module of tests, one per rule. `$make` is a function of [`Limits`](super::Limits) to a future of
/// `Arc<dyn Logs>`: a fresh cluster each time.
#[macro_export]
macro_rules! log_conformance {
    ($make:expr) => {
        $crate::log_conformance!(@each $make,
            what_is_appended_is_read_back,
            a_read_begins_anywhere_and_ends_at_the_acknowledged,
            a_read_keeps_to_its_size,
            parts_of_entries_are_read,
            sizes_are_checked,
            a_new_owner_finds_everything_acknowledged,
            of_two_owners_only_the_last_gets_acknowledgements,
            reads_cross_links,
            an_empty_link_is_replaced,
            trimming_gives_up_whole_links,
            thinning_keeps_what_is_needed_where_it_was,
            sealing_ends_appends_and_keeps_what_was_taken,
            twenty_appenders_while_sealing,
            twenty_appenders_while_stolen,
            a_full_window_refuses_until_there_is_room,
            logs_do_not_mix,
            a_follower_goes_on_from_what_it_is_woken_for,
        );
    };
    (@each $make:expr, $($rule:ident,)+) => {
        mod conformance {
            #[allow(unused_imports)]
            use super::*;
            $(
                #[tokio::test(start_paused = true)]
                async fn $rule() {
                    let limits = $crate::log::suite::limits();
                    let make = $make;
                    $crate::log::suite::$rule(make(limits).await).await;
                }
            )+
        }
    };
}

/// What the suite's logs are made with: small, so that its appends roll and fill.
pub fn limits() -> super::Limits {
    super::Limits { window_bytes: 64 << 10, roll_bytes: 256 << 10, ..super::Limits::default() }
}

fn name() -> LogName {
    LogName::new("suite").expect("a good name")
}

async fn open(logs: &Arc<dyn Logs>) -> Arc<dyn Log> {
    logs.open(&name()).await.expect("opens")
}

fn body(i: usize, len: usize) -> Bytes {
    let mut text = format!("entry {i} ").into_bytes();
    text.resize(len.max(1), b'a' + (i % 26) as u8);
    text.into()
}

/// Appends the next entry each time it finds the one before acknowledged.
struct Chaining {
    log: Arc<dyn Log>,
    /// The end of the newest entry, and how many are still to come.
    state: Mutex<(Position, usize)>,
    done: Notify,
}

impl Wake for Chaining {
    fn wake(self: Arc<Self>) {
        let mut state = self.state.lock();
        if self.log.progress().borrow().acknowledged < state.0 {
            return;
        }
        let Some(left) = state.1.checked_sub(1) else { return self.done.notify_one() };
        let body = body(left, 100);
        *state = (self.log.append(std::slice::from_ref(&body)).expect("takes it").after(body.len()), left);
    }
}

pub async fn a_follower_goes_on_from_what_it_is_woken_for(logs: Arc<dyn Logs>) {
    let log = open(&logs).await;
    let state = Mutex::new((Position::START, 50));
    let follower = Arc::new(Chaining { log: log.clone(), state, done: Notify::new() });
    let weak: Weak<Chaining> = Arc::downgrade(&follower);
    log.follow(weak);
    follower.clone().wake();
    follower.done.notified().await;
    assert_eq!(read_all(&log, Position::START).await.len(), 50);
}

/// Appends `n` entries of `len` bytes from number `from` on, and waits until they are acknowledged.
async fn fill(log: &Arc<dyn Log>, from: usize, n: usize, len: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    for i in from..from + n {
        let body = body(i, len);
        let position = append_when_room(&**log, std::slice::from_ref(&body)).await.expect("takes it");
        entries.push(Entry { position, body });
    }
    let end = entries.last().map_or(Position::START, Entry::end);
    acknowledged(&**log, end).await.expect("acknowledges");
    entries
}

async fn read_all(log: &Arc<dyn Log>, mut from: Position) -> Vec<Entry> {
    let mut entries = Vec::new();
    loop {
        let more = log.read(from, 100_000).await.expect("reads");
        let Some(last) = more.last() else { return entries };
        from = last.end();
        entries.extend(more);
    }
}

pub async fn what_is_appended_is_read_back(logs: Arc<dyn Logs>) {
    let log = open(&logs).await;
    let parts = [Bytes::from_static(b"in "), Bytes::new(), Bytes::from_static(b"parts")];
    let position = log.append(&parts).expect("takes it");
    assert_eq!(position, Position::START);
    assert_eq!(log.append(&[Bytes::from_static(b"second")]), Ok(Position(8)));
    acknowledged(&*log, Position(14)).await.expect("acknowledges");
    let expected = [
        Entry { position, body: Bytes::from_static(b"in parts") },
        Entry { position: Position(8), body: Bytes::from_static(b"second") },
    ];
    assert_eq!(log.read(Position::START, 1000).await.expect("reads"), expected);
}

pub async fn a_read_begins_anywhere_and_ends_at_the_acknowledged(logs: Arc<dyn Logs>) {
    let log = open(&logs).await;
    let entries = fill(&log, 0, 50, 100).await;
    for entry in &entries {
        for inside in [0, 1, 99] {
            let read = log.read(entry.position.after(inside), 1).await.expect("reads");
            assert_eq!(read, std::slice::from_ref(entry), "from {inside} bytes inside");
        }
    }
    assert_eq!(log.read(Position(5000), 1000).await, Ok(Vec::new()));
    assert!(matches!(log.read(Position(5001), 1000).await, Err(Error::NotYet(_))));
}

pub async fn a_read_keeps_to_its_size(logs: Arc<dyn Logs>) {
    let log = open(&logs).await;
    let entries = fill(&log, 0, 40, 1000).await;
    assert_eq!(log.read(Position::START, 1).await.expect("reads").len(), 1, "at least one");
    let read = log.read(Position(3000), 5500).await.expect("reads");
    assert!((2..=6).contains(&read.len()), "about 5500 bytes, not {} entries", read.len());
    assert_eq!(read, entries[3..3 + read.len()]);
}

pub async fn parts_of_entries_are_read(logs: Arc<dyn Logs>) {
    let log = open(&logs).await;
    let mut entries = fill(&log, 0, 40, 1000).await;
    log.roll().await.expect("rolls");
    entries.extend(fill(&log, 40, 40, 77).await);
    for entry in entries.iter().rev().chain(&entries) {
        for (from, len) in [(0, entry.body.len()), (3, 50), (entry.body.len() - 1, 1)] {
            let part = log.read_part(entry.position.after(from), len).await;
            assert!(part.is_none_or(|part| part == entry.body.slice(from..from + len)), "{from} {len}");
        }
        log.doubt(entry.position);
        assert_eq!(log.read_part(entry.position.after(1), entry.body.len()).await, None, "it ends before");
    }
    let end = entries.last().expect("entries").end();
    assert_eq!(log.read_part(end, 1).await, None);
}

pub async fn sizes_are_checked(logs: Arc<dyn Logs>) {
    let log = open(&logs).await;
    assert_eq!(log.append(&[]), Err(Refused::Size(0)));
    assert_eq!(log.append(&[Bytes::new()]), Err(Refused::Size(0)));
    let large = Bytes::from(vec![7; super::MAX_APPEND + 1]);
    assert_eq!(log.append(std::slice::from_ref(&large)), Err(Refused::Size(large.len())));
    let largest = large.slice(1..);
    let position = log.append(std::slice::from_ref(&largest)).expect("the largest fits an empty window");
    acknowledged(&*log, position.after(largest.len())).await.expect("acknowledges");
    assert_eq!(log.read(position, 1).await.expect("reads"), [Entry { position, body: largest }]);
}

pub async fn a_new_owner_finds_everything_acknowledged(logs: Arc<dyn Logs>) {
    let first = open(&logs).await;
    let mut entries = fill(&first, 0, 30, 500).await;
    drop(first);
    for round in 1..4 {
        let log = open(&logs).await;
        assert_eq!(log.progress().borrow().acknowledged, entries.last().map_or(Position::START, Entry::end));
        assert_eq!(read_all(&log, Position::START).await, entries, "owner {round}");
        entries.extend(fill(&log, round * 30, 30, 500).await);
    }
}

pub async fn of_two_owners_only_the_last_gets_acknowledgements(logs: Arc<dyn Logs>) {
    let old = open(&logs).await;
    let mut entries = fill(&old, 0, 10, 100).await;
    let new = open(&logs).await;
    assert!(new.epoch() > old.epoch());
    let before = old.progress().borrow().acknowledged;
    if let Ok(position) = old.append(&[Bytes::from_static(b"too late")]) {
        assert_eq!(acknowledged(&*old, position.after(8)).await, Err(Ended::Stolen));
    }
    assert_eq!(old.progress().borrow().acknowledged, before);
    assert_eq!(old.append(&[Bytes::from_static(b"again")]), Err(Ended::Stolen.into()));
    assert!(matches!(old.roll().await, Err(Error::Ended(Ended::Stolen))));
    assert!(matches!(old.seal().await, Err(Error::Ended(Ended::Stolen))));
    entries.extend(fill(&new, 10, 10, 100).await);
    assert_eq!(read_all(&new, Position::START).await, entries);
}

pub async fn reads_cross_links(logs: Arc<dyn Logs>) {
    let log = open(&logs).await;
    let mut entries = Vec::new();
    for round in 0..4 {
        entries.extend(fill(&log, round * 7, 7, 300).await);
        log.roll().await.expect("rolls");
    }
    let links = log.links().await.expect("lists");
    assert_eq!(links, logs.links(&name()).await.expect("lists"));
    assert_eq!(links.iter().map(|link| link.base.0).collect::<Vec<_>>(), [0, 2100, 4200, 6300, 8400]);
    assert!(links.windows(2).all(|pair| pair[0].end == Some(pair[1].base)));
    assert_eq!(links.last().and_then(|link| link.end), None);
    assert_eq!(read_all(&log, Position::START).await, entries);
    assert_eq!(read_all(&log, Position(2099)).await, entries[6..]);
    entries.extend(fill(&log, 28, 2000, 300).await);
    let more = log.links().await.expect("lists");
    assert!(more.len() > links.len(), "600,000 bytes roll a log of 256 KiB ledgers");
    assert_eq!(read_all(&log, Position::START).await, entries);
}

pub async fn an_empty_link_is_replaced(logs: Arc<dyn Logs>) {
    let log = open(&logs).await;
    for _ in 0..3 {
        log.roll().await.expect("rolls");
    }
    assert_eq!(log.links().await.expect("lists").len(), 1);
    let entries = fill(&log, 0, 3, 10).await;
    drop(log);
    for _ in 0..3 {
        open(&logs).await;
    }
    let log = open(&logs).await;
    assert_eq!(log.links().await.expect("lists").len(), 2);
    assert_eq!(read_all(&log, Position::START).await, entries);
}

pub async fn trimming_gives_up_whole_links(logs: Arc<dyn Logs>) {
    let log = open(&logs).await;
    let mut entries = Vec::new();
    for round in 0..4 {
        entries.extend(fill(&log, round * 5, 5, 100).await);
        log.roll().await.expect("rolls");
    }
    assert_eq!(log.trim(Position(499)).await, Ok(Position(0)), "not whole");
    assert_eq!(log.trim(Position(1100)).await, Ok(Position(1000)));
    assert_eq!(log.trim(Position(200)).await, Ok(Position(1000)), "nothing comes back");
    let gone = log.read(Position(999), 100).await;
    assert_eq!(gone, Err(Error::Trimmed { asked: Position(999), first: Position(1000) }));
    assert_eq!(read_all(&log, Position(1000)).await, entries[10..]);
    assert_eq!(log.trim(Position(u64::MAX)).await, Ok(Position(2000)), "the last link stays");
    drop(log);
    let log = open(&logs).await;
    assert_eq!(log.links().await.expect("lists")[0].base, Position(2000));
    fill(&log, 20, 5, 100).await;
    assert_eq!(log.read(Position(2000), 1).await.expect("reads")[0].body, body(20, 100));
}

/// What the thinned first link of the next test has of an entry: of every third one two pieces.
fn thinned(entry: &Entry) -> Option<Entry> {
    let needed = needed(entry).ok().filter(|needed| !needed.is_empty())?;
    let mut body = vec![0; entry.body.len()];
    for piece in needed {
        body[piece.clone()].copy_from_slice(&entry.body[piece]);
    }
    Some(Entry { position: entry.position, body: body.into() })
}

fn needed(entry: &Entry) -> Result<Vec<Range<usize>>, Error> {
    let is_needed = entry.body.starts_with(b"entry") && entry.position.0 / 20_000 % 3 == 1;
    Ok(if is_needed { vec![0..10, 15_000..15_007] } else { Vec::new() })
}

/// Reads at every entry, and goes on behind what was left out.
async fn check_thinned(log: &Arc<dyn Log>, entries: &[Entry], end: Position) {
    let left: Vec<Entry> = entries
        .iter()
        .filter_map(|entry| if entry.position < end { thinned(entry) } else { Some(entry.clone()) })
        .collect();
    for entry in entries {
        let at = entry.position.after(7);
        let next = left.iter().find(|left| left.end() > at);
        match (next, log.read(at, 1).await) {
            (Some(next), Ok(read)) => assert_eq!(read, std::slice::from_ref(next)),
            (Some(next), Err(Error::Trimmed { asked, first })) => {
                assert_eq!(asked, at);
                assert!(first > at && (first == next.position || first == end), "{first} behind {at}");
            }
            other => panic!("{at}: {other:?}"),
        }
    }
    let read = log.read(left[0].position, 200_000).await.expect("reads");
    assert!(read.len() > 2 && left.starts_with(&read), "what is left out is passed over");
}

pub async fn thinning_keeps_what_is_needed_where_it_was(logs: Arc<dyn Logs>) {
    let log = open(&logs).await;
    let entries = fill(&log, 0, 30, 20_000).await;
    log.roll().await.expect("rolls");
    let links = log.links().await.expect("has links");
    let (first, last) = (&links[0], links.last().expect("has a link"));
    let end = first.end.expect("is closed");
    assert_eq!(log.thin(last.base, &needed).await, Ok(false), "the last one is not touched");
    assert_eq!(log.thin(Position(7), &needed).await, Ok(false), "no link begins there");
    assert_eq!(log.thin(first.base, &needed).await, Ok(true));
    check_thinned(&log, &entries, end).await;
    let now = log.links().await.expect("has links");
    assert_eq!((now.len(), now[0].base, now[0].end), (links.len(), first.base, first.end));
    assert!(now[0].ledger != first.ledger && now[0].sparse.is_some_and(|bytes| bytes < 1000), "{now:?}");
    assert_eq!(now[1..], links[1..]);
    let again = open(&logs).await;
    assert!(log.thin(links[1].base, &needed).await.is_err(), "an owner that was robbed replaces nothing");
    check_thinned(&again, &entries, end).await;
    assert_eq!(again.thin(first.base, &needed).await, Ok(true), "a sparse link can be thinned too");
    check_thinned(&again, &entries, end).await;
    assert_eq!(again.thin(first.base, &|_| Ok(Vec::new())).await, Ok(true));
    assert_eq!(again.read(first.base, 1).await, Err(Error::Trimmed { asked: first.base, first: end }));
    assert_eq!(again.read(end, 1).await.map(|read| read[0].position), Ok(end));
    let refused = again.thin(links[1].base, &|_| Err(Error::Corrupt("it cannot be read".into()))).await;
    assert!(refused.is_err());
    assert_eq!(again.links().await.expect("has links")[1], links[1], "it is still what it was");
    assert_eq!(again.trim(end).await, Ok(end));
}

pub async fn sealing_ends_appends_and_keeps_what_was_taken(logs: Arc<dyn Logs>) {
    let log = open(&logs).await;
    let entries: Vec<_> = (0..20)
        .map(|i| {
            let body = body(i, 200);
            Entry { position: log.append(std::slice::from_ref(&body)).expect("takes it"), body }
        })
        .collect();
    assert_eq!(log.seal().await, Ok(Position(4000)));
    assert_eq!(log.append(&[Bytes::from_static(b"no")]), Err(Ended::Sealed.into()));
    assert_eq!(log.progress().borrow().ended, Some(Ended::Sealed));
    assert_eq!(log.progress().borrow().acknowledged, Position(4000));
    assert_eq!(read_all(&log, Position::START).await, entries, "a sealed log can be read");
    let next = open(&logs).await;
    assert_eq!(read_all(&next, Position::START).await, entries);
    fill(&next, 20, 1, 10).await;
}

/// Appends until the log has ended; what was acknowledged.
async fn append_to_the_end(log: Arc<dyn Log>, appender: usize) -> Vec<Entry> {
    let mut confirmed = Vec::new();
    for i in 0..1000 {
        let body = body(appender * 1000 + i, 20 + (appender * 31 + i * 7) % 200);
        let Ok(position) = append_when_room(&*log, std::slice::from_ref(&body)).await else { break };
        let entry = Entry { position, body };
        if acknowledged(&*log, entry.end()).await.is_err() {
            break;
        }
        confirmed.push(entry);
        tokio::task::yield_now().await;
    }
    confirmed
}

fn appenders(log: &Arc<dyn Log>) -> Vec<tokio::task::JoinHandle<Vec<Entry>>> {
    (0..20).map(|appender| tokio::spawn(append_to_the_end(log.clone(), appender))).collect()
}

async fn confirmed(appenders: Vec<tokio::task::JoinHandle<Vec<Entry>>>) -> Vec<Entry> {
    let mut all = Vec::new();
    for appender in appenders {
        all.extend(appender.await.expect("an appender ends"));
    }
    all.sort_by_key(|entry| entry.position);
    all
}

pub async fn twenty_appenders_while_sealing(logs: Arc<dyn Logs>) {
    let log = open(&logs).await;
    let appenders = appenders(&log);
    let mut progress = log.progress();
    progress.wait_for(|p| p.acknowledged > Position(20_000)).await.expect("the log goes on");
    let end = log.seal().await.expect("seals");
    let confirmed = confirmed(appenders).await;
    assert!(confirmed.iter().all(|entry| entry.end() <= end), "acknowledged beyond the sealed end {end}");
    assert!(confirmed.windows(2).all(|pair| pair[0].end() <= pair[1].position), "given twice");
    let stored = read_all(&open(&logs).await, Position::START).await;
    assert_eq!(stored.last().map(Entry::end), Some(end));
    let read: BTreeSet<_> = stored.iter().map(|entry| (entry.position, entry.body.clone())).collect();
    assert!(confirmed.iter().all(|entry| read.contains(&(entry.position, entry.body.clone()))), "lost");
}

pub async fn twenty_appenders_while_stolen(logs: Arc<dyn Logs>) {
    let mut confirmed_by_all = Vec::new();
    for _ in 0..5 {
        let log = open(&logs).await;
        let begin = log.progress().borrow().acknowledged;
        let appenders = appenders(&log);
        let mut progress = log.progress();
        progress.wait_for(|p| p.acknowledged > begin.after(10_000)).await.expect("the log goes on");
        let thief = open(&logs).await;
        confirmed_by_all.extend(confirmed(appenders).await);
        let stored = read_all(&thief, Position::START).await;
        assert!(stored.windows(2).all(|pair| pair[0].end() == pair[1].position), "a hole or an overlap");
        let read: BTreeSet<_> = stored.iter().map(|entry| (entry.position, entry.body.clone())).collect();
        let kept = |entry: &Entry| read.contains(&(entry.position, entry.body.clone()));
        assert!(confirmed_by_all.iter().all(kept), "lost");
    }
}

pub async fn a_full_window_refuses_until_there_is_room(logs: Arc<dyn Logs>) {
    let log = open(&logs).await;
    let window = limits().window_bytes;
    let (mut taken, mut held) = (0, 0);
    // Without an await nothing can be acknowledged in between, unless the log acknowledges inside `append`.
    while held <= window {
        match log.append(&[body(taken, 1000)]) {
            Ok(_) => taken += 1,
            Err(refused) => {
                assert_eq!(refused, Refused::Full);
                break;
            }
        }
        held += 1000;
    }
    assert!(held <= window || log.progress().borrow().acknowledged > Position::START, "a bounded window");
    let position = append_when_room(&*log, &[body(taken, 1000)]).await.expect("there is room again");
    assert_eq!(position, Position(taken as u64 * 1000));
    acknowledged(&*log, position.after(1000)).await.expect("acknowledges");
}

pub async fn logs_do_not_mix(logs: Arc<dyn Logs>) {
    let other_name = LogName::new("suite-2").expect("a good name");
    let log = open(&logs).await;
    let entries = fill(&log, 0, 5, 50).await;
    let other = logs.open(&other_name).await.expect("opens");
    assert_eq!(other.read(Position::START, 1000).await, Ok(Vec::new()));
    fill(&other, 5, 7, 50).await;
    assert_eq!(read_all(&log, Position::START).await, entries);
    assert_eq!(log.progress().borrow().ended, None);
}
