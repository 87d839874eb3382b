//! What every way to a bookie must do, run on all of them: TCP with our extension, with v2 (and v3 beside it), with
//! v3, and in process.

use std::sync::Arc;
use std::time::Duration;

use protocol::bookie::{AddOptions, Answer, ReadOptions, Refusal, Request};
use protocol::{BookieId, EntryId, LedgerId};
use tokio::net::TcpListener;

use crate::client::{Settings, Tcp, Wire};
use crate::server::{self, Server};
use crate::toy::{Toy, add, bytes, key, read};
use crate::{Bookies, Dns, Failure, Inbox, Local, Reply, ask, gather};

struct World {
    toy: Arc<Toy>,
    bookies: Arc<dyn Bookies>,
    bookie: BookieId,
    server: Option<Server>,
}

pub(crate) async fn tcp(wire: Wire, settings: Settings) -> (Arc<Toy>, Arc<Tcp>, BookieId, Server) {
    let toy = Arc::new(Toy::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bookie: BookieId = listener.local_addr().unwrap().to_string().parse().unwrap();
    let theirs = server::Settings::new(bookie.to_string(), 1, 64 << 20);
    let server = server::serve(listener, toy.clone(), theirs).unwrap();
    let bookies = Arc::new(Tcp::new(Arc::new(Dns), Settings { wire, ..settings }));
    (toy, bookies, bookie, server)
}

impl World {
    async fn tcp(wire: Wire) -> World {
        let settings = Settings { timeout: Duration::from_secs(30), ..Settings::default() };
        let (toy, bookies, bookie, server) = tcp(wire, settings).await;
        World { toy, bookies, bookie, server: Some(server) }
    }

    fn local() -> World {
        let toy = Arc::new(Toy::default());
        let bookie: BookieId = "local:1".parse().unwrap();
        let local = Local::default();
        local.insert(bookie.clone(), toy.clone());
        World { toy, bookies: Arc::new(local), bookie, server: None }
    }

    async fn ask(&self, request: Request) -> Result<Answer, Failure> {
        ask(&*self.bookies, &self.bookie, request).await
    }
}

/// Runs the named checks on every transport.
macro_rules! on_every_transport {
    ($($check:ident),* $(,)?) => {
        mod extension { $(#[tokio::test] async fn $check() {
            super::$check(super::World::tcp(crate::client::Wire::Negotiate).await).await
        })* }
        mod v2 { $(#[tokio::test] async fn $check() {
            super::$check(super::World::tcp(crate::client::Wire::V2).await).await
        })* }
        mod v3 { $(#[tokio::test] async fn $check() {
            super::$check(super::World::tcp(crate::client::Wire::V3).await).await
        })* }
        mod local { $(#[tokio::test] async fn $check() {
            super::$check(super::World::local()).await
        })* }
    };
}

on_every_transport!(
    what_was_added_is_read,
    every_operation_is_carried,
    refusals_arrive_as_they_are,
    adds_arrive_in_order_and_each_is_answered_once,
    large_entries_pass,
    an_unknown_bookie_is_unreachable,
    requests_alike_but_for_their_options_get_their_own_replies,
);

async fn what_was_added_is_read(world: World) {
    assert_eq!(world.ask(add(7, 0, 5)).await, Ok(Answer::Added));
    for entry in [0, -1] {
        let Ok(Answer::Entry { body, .. }) = world.ask(read(7, entry)).await else { panic!("no entry") };
        assert_eq!(body, bytes(7, 0, 5));
    }
}

async fn every_operation_is_carried(world: World) {
    let ledger = LedgerId(7);
    for entry in 0..10 {
        assert_eq!(world.ask(add(7, entry, 100)).await, Ok(Answer::Added));
    }
    let packet = bytes::Bytes::from_static(b"a packet");
    let write = Request::WriteLac { ledger, lac: EntryId(3), key: key(), packet: packet.clone() };
    assert_eq!(world.ask(write).await, Ok(Answer::LacWritten));
    let lac = Answer::Lac { packet: Some(packet), last_entry: Some(bytes(7, 9, 100)) };
    assert_eq!(world.ask(Request::ReadLac { ledger }).await, Ok(lac));
    assert_eq!(world.ask(Request::Force { ledger }).await, Ok(Answer::Forced));
    assert_eq!(world.ask(Request::Info).await, Ok(Answer::Info { free: 100, total: 200 }));
    let Ok(Answer::List(runs)) = world.ask(Request::ListEntries { ledger }).await else { panic!("no list") };
    let ids: Vec<i64> = runs.iter().flat_map(|(first, last)| first.0..=last.0).collect();
    assert_eq!(ids, (0..10).collect::<Vec<_>>());
    let deferred = match add(7, 10, 100) {
        Request::Add { ledger, entry, key, body, .. } => {
            let options = AddOptions { deferred_sync: true, ..AddOptions::default() };
            Request::Add { ledger, entry, key, body, options }
        }
        other => other,
    };
    assert_eq!(world.ask(deferred).await, Ok(Answer::Added));
    let options =
        ReadOptions { piggyback_lac: true, previous_lac: Some(EntryId(2)), ..ReadOptions::default() };
    let Ok(Answer::Entry { max_lac, .. }) =
        world.ask(Request::Read { ledger, entry: EntryId(4), options }).await
    else {
        panic!("no entry")
    };
    assert_eq!(max_lac, Some(EntryId(9)));
}

async fn refusals_arrive_as_they_are(world: World) {
    let refused = |refusal| Err(Failure::Refused(refusal));
    assert_eq!(world.ask(read(7, 0)).await, refused(Refusal::NoLedger));
    assert_eq!(world.ask(add(7, 0, 5)).await, Ok(Answer::Added));
    assert_eq!(world.ask(read(7, 1)).await, refused(Refusal::NoEntry));
    let fence = ReadOptions { fence: Some(key()), ..ReadOptions::default() };
    let fencing = Request::Read { ledger: LedgerId(7), entry: EntryId(1), options: fence };
    assert_eq!(world.ask(fencing).await, refused(Refusal::NoEntry));
    assert_eq!(world.ask(add(7, 1, 5)).await, refused(Refusal::Fenced));
}

async fn adds_arrive_in_order_and_each_is_answered_once(world: World) {
    let inbox = Inbox::new();
    for round in 0..20 {
        gather(|| {
            for entry in round * 100..(round + 1) * 100 {
                world.bookies.send(&world.bookie, add(7, entry, 1500), inbox.expect(entry as u64));
            }
        });
        // Outside of a gather too.
        world.bookies.send(&world.bookie, add(8, round, 10), inbox.expect(10_000 + round as u64));
        tokio::task::yield_now().await;
    }
    let mut answered = Vec::new();
    while answered.len() < 2020 {
        for (token, reply) in inbox.take().await {
            assert_eq!(reply, Ok(Answer::Added));
            answered.push(token);
        }
    }
    answered.sort_unstable();
    assert!(answered.iter().copied().eq((0..2000).chain(10_000..10_020)));
    let order = world.toy.adds.lock().clone();
    let first: Vec<EntryId> = (0..100).map(EntryId).collect();
    assert_eq!(order[..100], first);
    assert_eq!(order[100], EntryId(0));
}

async fn large_entries_pass(world: World) {
    // v3's frame has the least room for an entry.
    let size = protocol::entry::MAX_PAYLOAD - 100;
    assert_eq!(world.ask(add(7, 0, size)).await, Ok(Answer::Added));
    let Ok(Answer::Entry { body, .. }) = world.ask(read(7, 0)).await else { panic!("no entry") };
    assert_eq!(body, bytes(7, 0, size));
    if world.server.is_some() {
        let reply = world.ask(add(7, 1, protocol::entry::MAX_PAYLOAD + 100)).await;
        assert_eq!(reply, Err(Failure::Refused(Refusal::BadRequest)));
    }
}

async fn an_unknown_bookie_is_unreachable(world: World) {
    let nobody: BookieId = "127.0.0.1:1".parse().unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&*world.bookies, &nobody, read(1, 1)).await, Err(Failure::Unreachable));
    }
}

async fn requests_alike_but_for_their_options_get_their_own_replies(world: World) {
    assert_eq!(world.ask(add(7, 0, 5)).await, Ok(Answer::Added));
    let fence = ReadOptions { fence: Some(key()), ..ReadOptions::default() };
    let recovery = AddOptions { recovery: true, high_priority: true, ..AddOptions::default() };
    let Request::Add { ledger, entry, key, body, .. } = add(7, 1, 5) else { panic!() };
    let requests = [
        read(7, 0),
        read(7, 0),
        Request::Read { ledger, entry: EntryId(0), options: fence },
        add(7, 1, 5),
        Request::Add { ledger, entry, key, body, options: recovery },
        add(7, 1, 5),
    ];
    let inbox = Inbox::new();
    for (token, request) in requests.into_iter().enumerate() {
        world.bookies.send(&world.bookie, request, inbox.expect(token as u64));
    }
    let mut replies = Vec::new();
    while replies.len() < 6 {
        replies.extend(inbox.take().await);
    }
    replies.sort_by_key(|(token, _)| *token);
    let replies: Vec<_> = replies.into_iter().map(|(_, reply)| reply).collect();
    assert!(replies[..3].iter().all(|reply| matches!(reply, Ok(Answer::Entry { .. }))), "{replies:?}");
    let fenced = Err(Failure::Refused(Refusal::Fenced));
    assert_eq!(replies[3..], [fenced.clone(), Ok(Answer::Added), fenced]);
}

mod reads {
    use super::*;

    /// Batches and ranges: on the extension, on v2 and in process.
    async fn batches_and_ranges_are_read(world: &World) {
        for entry in 0..10 {
            assert_eq!(world.ask(add(7, entry, 1000)).await, Ok(Answer::Added));
        }
        let batch = |first: i64, max_count, max_bytes| Request::BatchRead {
            ledger: LedgerId(7),
            first: EntryId(first),
            max_count,
            max_bytes,
            options: ReadOptions::default(),
        };
        let got = |reply| match reply {
            Ok(Answer::Entries(entries)) => Ok(Vec::len(&entries)),
            other => Err(other),
        };
        assert_eq!(got(world.ask(batch(2, 0, 1 << 20)).await), Ok(8));
        assert_eq!(got(world.ask(batch(2, 3, 1 << 20)).await), Ok(3));
        assert_eq!(got(world.ask(batch(2, 0, 4000)).await), Ok(3));
        assert_eq!(got(world.ask(batch(2, 0, 10)).await), Ok(1));
        assert_eq!(world.ask(batch(10, 0, 10)).await, Err(Failure::Refused(Refusal::NoEntry)));
        let range = |from, len| Request::ReadRange { ledger: LedgerId(7), entry: EntryId(3), from, len };
        assert_eq!(world.ask(range(30, 10)).await, Ok(Answer::Range(bytes(7, 3, 1000).slice(30..40))));
        assert_eq!(world.ask(range(1030, 10)).await, Ok(Answer::Range(bytes(7, 3, 1000).slice(1030..))));
    }

    /// Of what [`batches_and_ranges_are_read`] has written.
    async fn lengths(world: &World) -> Reply {
        world.ask(Request::Lengths { ledger: LedgerId(7), first: EntryId(7), max_count: 2 }).await
    }

    #[tokio::test]
    async fn on_the_extension() {
        let world = World::tcp(Wire::Negotiate).await;
        batches_and_ranges_are_read(&world).await;
        assert_eq!(lengths(&world).await, Ok(Answer::Lengths(vec![bytes(7, 7, 1000).len() as u32; 2])));
    }

    #[tokio::test]
    async fn on_v2() {
        let world = World::tcp(Wire::V2).await;
        batches_and_ranges_are_read(&world).await;
        assert_eq!(lengths(&world).await, Err(Failure::Refused(Refusal::BadVersion)));
    }

    #[tokio::test]
    async fn in_process() {
        let world = World::local();
        batches_and_ranges_are_read(&world).await;
        assert_eq!(lengths(&world).await, Ok(Answer::Lengths(vec![bytes(7, 7, 1000).len() as u32; 2])));
    }
}
