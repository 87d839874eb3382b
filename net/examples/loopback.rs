//! Adds through loopback TCP to a service that stores nothing: what the wire alone costs, and on which side.
//!
//! ```text
//! cargo run --release -p net --example loopback -- [seconds] [in flight] [entry size] [ext|v2|v3] [now|shelf|read]
//! ```
//!
//! `now` answers in the connection's task; `shelf` on a thread of its own that takes what has come, waits 150 µs (as
//! long as a sync) and answers all of it, as a bookie's shelf does. `read` asks for entries instead, a megabyte at a
//! time.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use net::client::{Tcp, Wire};
use net::{Bookies, Dns, Pressure, Replies, Reply, ReplyTo, Service, client, gather, server};
use parking_lot::{Condvar, Mutex};
use protocol::bookie::{AddOptions, Answer, Body, ReadOptions, Request};
use protocol::entry::{Header, MasterKey};
use protocol::{BookieId, EntryId, LedgerId};

/// Answers at once; reads with copies of one entry.
struct Now(Bytes);

impl Service for Now {
    fn submit(&self, batch: Vec<(Request, ReplyTo)>) -> Pressure {
        for (request, duty) in batch {
            duty.answer(Ok(match request {
                Request::BatchRead { .. } => Answer::Entries(vec![self.0.clone(); (1 << 20) / self.0.len()]),
                _ => Answer::Added,
            }));
        }
        Pressure::Room
    }

    fn room(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }
}

#[derive(Default)]
struct Shelf {
    waiting: Mutex<Vec<(Request, ReplyTo)>>,
    came: Condvar,
}

impl Service for Shelf {
    fn submit(&self, batch: Vec<(Request, ReplyTo)>) -> Pressure {
        self.waiting.lock().extend(batch);
        self.came.notify_one();
        Pressure::Room
    }

    fn room(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }
}

impl Shelf {
    fn run(&self) {
        loop {
            let mut waiting = self.waiting.lock();
            while waiting.is_empty() {
                self.came.wait(&mut waiting);
            }
            let group = std::mem::take(&mut *waiting);
            drop(waiting);
            std::thread::sleep(Duration::from_micros(150));
            gather(|| group.into_iter().for_each(|(_, duty)| duty.answer(Ok(Answer::Added))));
        }
    }
}

/// Keeps adds in flight: each answer sends the next one.
struct Loader {
    tcp: Tcp,
    bookie: BookieId,
    payload: Bytes,
    reads: bool,
    next: AtomicU64,
    answered: AtomicU64,
    stop: AtomicBool,
    me: Weak<Loader>,
}

impl Loader {
    fn send(&self) {
        let Some(me) = self.me.upgrade() else { return };
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        if self.reads {
            let options = ReadOptions::default();
            let (ledger, first) = (LedgerId(1), EntryId(id as i64));
            let request = Request::BatchRead { ledger, first, max_count: 0, max_bytes: 2 << 20, options };
            return self.tcp.send(&self.bookie, request, ReplyTo::new(me, id));
        }
        let header =
            Header { ledger: LedgerId(1), entry: EntryId(id as i64), lac: EntryId(id as i64 - 1), length: 0 };
        let body = Body { head: Bytes::copy_from_slice(&header.encode()), payload: self.payload.clone() };
        let key = MasterKey([0; 20]);
        let options = AddOptions::default();
        let request = Request::Add { ledger: header.ledger, entry: header.entry, key, body, options };
        self.tcp.send(&self.bookie, request, ReplyTo::new(me, id));
    }
}

impl Replies for Loader {
    fn answer(&self, _: u64, reply: Reply) {
        if reply.is_err() && !self.stop.load(Ordering::Relaxed) {
            eprintln!("{reply:?}");
        }
        self.answered.fetch_add(1, Ordering::Relaxed);
        if !self.stop.load(Ordering::Relaxed) {
            self.send();
        }
    }
}

/// CPU time of all threads whose name begins with `name`, in ticks of 10 ms: user and system.
fn cpu(name: &str) -> (u64, u64) {
    let (mut user, mut system) = (0, 0);
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let Some((head, tail)) = stat.rsplit_once(')') else { continue };
        if head.split_once('(').is_some_and(|(_, comm)| comm.starts_with(name)) {
            let field = |i: usize| tail.split_whitespace().nth(i).and_then(|f| f.parse().ok()).unwrap_or(0);
            user += field(11);
            system += field(12);
        }
    }
    (user, system)
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: u64| args.get(i).and_then(|arg| arg.parse().ok()).unwrap_or(default);
    let (seconds, in_flight, size) = (number(0, 5), number(1, 1000), number(2, 1024));
    let wire = match args.get(3).map(String::as_str) {
        Some("v2") => Wire::V2,
        Some("v3") => Wire::V3,
        _ => Wire::Negotiate,
    };
    let shelf = args.get(4).is_some_and(|arg| arg == "shelf");
    let reads = args.get(4).is_some_and(|arg| arg == "read");

    let serving = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("server")
        .enable_all()
        .build()
        .expect("a runtime");
    let address = serving.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let service: Arc<dyn Service> = if shelf {
            let shelf = Arc::new(Shelf::default());
            let running = shelf.clone();
            std::thread::Builder::new().name("shelf".into()).spawn(move || running.run()).expect("a thread");
            shelf
        } else {
            Arc::new(Now(Bytes::from(vec![7; size.max(40) as usize])))
        };
        let settings = server::Settings::new(address.to_string(), 1, 256 << 20);
        std::mem::forget(server::serve(listener, service, settings).expect("a server"));
        address
    });

    let loading = std::thread::Builder::new().name("client".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(load(address.to_string(), wire, seconds, in_flight, (size, reads)));
    });
    loading.expect("a thread").join().expect("the loader");
}

async fn load(address: String, wire: Wire, seconds: u64, in_flight: u64, (size, reads): (u64, bool)) {
    let tcp = Tcp::new(Arc::new(Dns), client::Settings { wire, ..Default::default() });
    let loader = Arc::new_cyclic(|me| Loader {
        tcp,
        bookie: address.parse().expect("an id"),
        payload: Bytes::from(vec![7; size as usize]),
        reads,
        next: AtomicU64::new(0),
        answered: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        me: me.clone(),
    });
    gather(|| (0..in_flight).for_each(|_| loader.send()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (before, since) = (loader.answered.load(Ordering::Relaxed), Instant::now());
    let cpu_before = ["server", "shelf", "client"].map(cpu);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let adds = (loader.answered.load(Ordering::Relaxed) - before) as f64;
    println!(
        "{:.0} {}/s",
        adds / since.elapsed().as_secs_f64(),
        if reads { "reads of 1 MB" } else { "adds" }
    );
    for (name, before) in ["server", "shelf", "client"].into_iter().zip(cpu_before) {
        let (user, system) = cpu(name);
        let micros = |ticks: u64| ticks as f64 * 10_000.0 / adds;
        println!(
            "{name}: {:.2} µs user, {:.2} µs system each",
            micros(user - before.0),
            micros(system - before.1)
        );
    }
    loader.stop.store(true, Ordering::Relaxed);
}
