//! Bookies run full under brokers: messages are refused, and it is said why; offsets, decisions and trims still fit; and
//! when space comes back sends are served at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use client::{Client, Decision, Error, Message, Producer, PullConsumer, Queue, SendStatus, TopicSettings};
use metadata::registry;
use net::remoting;
use protocol::remoting::{Command, code};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::SOON;
use super::bad_input::Deaf;
use super::servers::{Servers, VBS};
use super::traffic::queues;
use crate::access;
use crate::cluster::{Cluster, SEGMENT};
use crate::entry::Name;
use crate::volume::Volume;

const TOPIC: &str = "full";
const READERS: &str = "readers";
/// They go on while disks are full.
const OTHERS: &str = "others";
const BOOKIES: usize = 3;
/// What the bookies' disks have when the filling begins, besides what is begun on them: two segments and the index.
const LEFT: u64 = 2 * SEGMENT + SEGMENT / 2 + (8 << 20);
/// From when there is space until a message is acknowledged.
const GOAL: Duration = Duration::from_secs(1);
const COMMITTED: &str = "committed while full";
const ROLLED_BACK: &str = "rolled back while full";

/// Volumes are unmounted before the folder goes that they are in.
struct World {
    volumes: Vec<Volume>,
    servers: Servers,
    client: Client,
    reader: PullConsumer,
    queues: Vec<Queue>,
}

/// What a producer was told.
type Told = BTreeMap<(Queue, i64), Name>;

pub async fn disks() -> Result<()> {
    let mut world = World::start().await?;
    // Who forgets a decision would soon ask for it again.
    world.configure("transactionCheckInterval=1000\ntransactionCheckMax=1000\n").await?;
    let halves = Halves::send(&world.client).await?;
    let mut told = world.fill().await?;

    world.commit(&told).await?;
    halves.decide();
    world.must_have_decided().await?;
    world.must_hold(&told).await?;

    let asked = halves.asked.load(Relaxed);
    let (before, victim) = (world.servers.owners().await?, world.servers.owner().await?);
    world.servers.kill(&victim)?;
    world.servers.must_have_moved(&before, &victim, SOON).await?;
    world.must_have_committed(&told).await?;
    world.must_have_decided().await?;
    world.must_hold(&told).await?;
    refused(&world.send(1, 0).await).context("another owner takes messages although the disks are full")?;

    world.must_trim().await?;
    ensure!(halves.asked.load(Relaxed) == asked, "it is asked what was decided while disks were full");
    let more = world.give_space_back().await?;
    world.must_have_committed(&told).await?;
    told.extend(more);
    world.must_hold(&told).await
}

impl World {
    async fn start() -> Result<World> {
        let mut cluster = Cluster::start(0).await?;
        let mut volumes = Vec::new();
        for n in 0..BOOKIES {
            let member = cluster.new_member("gc_every = \"1h\"")?;
            let image = cluster.folder.path().join(format!("small{n}.img"));
            volumes.push(Volume::new(&image, &member.data, 16 * SEGMENT)?);
            cluster.start_bookie(&member.id).await?;
        }
        let servers = Servers::over(cluster).await?;
        let client = Client::new(&servers.addresses())?;
        let settings = TopicSettings { read_queues: 1, write_queues: 1, ..TopicSettings::default() };
        client.admin().create_topic(TOPIC, &settings).await.context("create the topic")?;
        for group in [READERS, OTHERS] {
            client.admin().create_group(group).await.context("create a group")?;
        }
        let reader = client.pull_consumer(READERS);
        let queues = queues(&client, TOPIC).await?;
        Ok(World { volumes, servers, client, reader, queues })
    }

    async fn send(&self, writer: u32, number: u64) -> client::Outcome<client::Sent> {
        let queue = &self.queues[writer as usize % self.queues.len()];
        let message = Message::new(TOPIC, body(Name { writer, number }));
        self.client.producer("fillers").send_to(queue, message).await
    }

    /// Changes a setting of every virtual broker.
    async fn configure(&self, setting: &'static str) -> Result<()> {
        let asking = remoting::Client::new(Arc::new(Deaf), remoting::Settings::default());
        for address in self.client.admin().masters().await?.values() {
            let request = Command::request(code::request::UPDATE_BROKER_CONFIG).body(setting);
            let reply = asking.ask(address, request, SOON).await?;
            ensure!(reply.code == 0, "{setting} is not taken by {address}: {:?}", reply.remark);
        }
        Ok(())
    }

    /// Sends until every virtual broker refuses, and says that it is for lack of space.
    async fn fill(&self) -> Result<Told> {
        self.volumes.iter().try_for_each(|volume| volume.fill(LEFT))?;
        let mut filling = JoinSet::new();
        for (writer, queue) in (0..).zip(self.queues.clone()) {
            filling.spawn(fill_queue(self.client.producer("fillers"), writer, queue));
        }
        let mut told = Told::new();
        while let Some(filled) = filling.join_next().await {
            told.extend(filled??);
        }
        let sent: usize = told.values().map(|name| body(*name).len()).sum();
        ensure!(sent as u64 > SEGMENT, "refused after {sent} bytes: there was more room than that");
        let short = self.short().await?;
        println!(
            "      {} messages, {} MB, until {short} of {BOOKIES} disks were full",
            told.len(),
            sent >> 20
        );
        Ok(told)
    }

    /// How many bookies say that their disks are about to be full.
    async fn short(&self) -> Result<usize> {
        let cluster = &self.servers.cluster;
        let bookies = registry::bookies(&*cluster.store, &cluster.scope).await?;
        Ok(bookies.iter().filter(|bookie| bookie.short).count())
    }

    /// Half of each queue is consumed. Most offsets are stored within a second: now and then the machine stands still.
    async fn commit(&self, told: &Told) -> Result<()> {
        let mut took = Vec::new();
        for queue in &self.queues {
            let offset = half(told, queue);
            let began = Instant::now();
            self.reader.commit(queue, offset).await.context("an offset is not taken while disks are full")?;
            took.push(began.elapsed());
        }
        took.sort();
        ensure!(took[took.len() / 2] < GOAL, "offsets took {took:?} while disks are full");
        self.must_have_committed(told).await
    }

    async fn must_have_committed(&self, told: &Told) -> Result<()> {
        for queue in &self.queues {
            let (wanted, found) = (half(told, queue), patiently(|| self.reader.committed(queue)).await?);
            ensure!(found == Some(wanted), "{queue}: {wanted} was committed, and is {found:?}");
        }
        Ok(())
    }

    /// One message came with its decision, the other never does.
    async fn must_have_decided(&self) -> Result<()> {
        let deadline = Instant::now() + SOON;
        loop {
            let mut found = Vec::new();
            for queue in &self.queues {
                found.extend(self.read(queue).await?.into_iter().map(|(_, body)| body));
            }
            ensure!(!found.iter().any(|body| body == ROLLED_BACK), "a message is there that was rolled back");
            match found.iter().filter(|body| *body == COMMITTED).count() {
                1 => return Ok(()),
                0 if Instant::now() < deadline => sleep(Duration::from_millis(100)).await,
                count => {
                    bail!("a transaction that was committed while disks are full is there {count} times")
                }
            }
        }
    }

    /// Everything that was acknowledged is where it was said to be, but for what retention took.
    async fn must_hold(&self, told: &Told) -> Result<()> {
        let mut found = BTreeMap::new();
        let mut begins = BTreeMap::new();
        for queue in &self.queues {
            begins.insert(queue, patiently(|| self.reader.min(queue)).await?);
            found.extend(self.read(queue).await?.into_iter().map(|(at, body)| ((queue.clone(), at), body)));
        }
        for ((queue, offset), name) in told {
            let there = found.get(&(queue.clone(), *offset));
            let given_up = begins.get(queue).is_some_and(|begin| begin > offset);
            ensure!(given_up || there == Some(&body(*name)), "LOST: {name:?} is not in {queue} at {offset}");
        }
        Ok(())
    }

    async fn read(&self, queue: &Queue) -> Result<Vec<(i64, Bytes)>> {
        let (mut at, end) =
            (patiently(|| self.reader.min(queue)).await?, patiently(|| self.reader.max(queue)).await?);
        let mut found = Vec::new();
        while at < end {
            let pulled = patiently(|| self.reader.pull(queue, "*", at, 32, Duration::ZERO)).await?;
            ensure!(pulled.next > at, "{queue} ends at {end}, and has nothing at {at}");
            at = pulled.next;
            found.extend(pulled.messages.into_iter().map(|message| (message.offset, message.body)));
        }
        Ok(found)
    }

    /// Of every virtual broker little is kept from now on: what was written before the change of owners goes, at last
    /// from the bookies' disks.
    async fn must_trim(&self) -> Result<()> {
        self.configure("retentionBytes=1\n").await?;
        let others = self.client.pull_consumer(OTHERS);
        let (began, mut kept, mut done) = (Instant::now(), (0..VBS).collect::<Vec<_>>(), 0);
        while let Some(vb) = kept.last() {
            match access::links(&self.servers.cluster.uri(), &format!("vb-{vb}")).await?.first() {
                Some(first) if first.base.0 > 0 => drop(kept.pop()),
                _ => sleep(Duration::from_millis(500)).await,
            }
            ensure!(began.elapsed() < SOON * 2, "retention gives nothing up while disks are full: {kept:?}");
            done += 1;
            for queue in &self.queues {
                others.commit(queue, done).await.context("an offset is not taken while disks are full")?;
            }
        }
        ensure!(self.short().await? > 1, "disks had room again before retention gave anything up");
        println!("      retention has trimmed all logs after {:.1} s", began.elapsed().as_secs_f64());
        Ok(())
    }

    /// The time from then on until a message is acknowledged is the point of it.
    async fn give_space_back(&self) -> Result<Told> {
        let mut told = Told::new();
        let filler = refused(&self.send(1, 1 << 32).await);
        filler.context("messages are taken although nobody gave space back")?;
        self.volumes.iter().try_for_each(Volume::drain)?;
        let began = Instant::now();
        let mut longest = Duration::ZERO;
        for writer in 0..self.queues.len() as u32 {
            let number = (1 << 32) + 1;
            let sent = timeout(SOON, self.send(writer, number)).await?.context("disks have room again")?;
            ensure!(sent.status == SendStatus::Ok, "{:?} although disks have room again", sent.status);
            longest = longest.max(began.elapsed());
            told.insert((sent.queue, sent.offset), Name { writer, number });
        }
        println!(
            "      every virtual broker stores again {:.2} s after there is space",
            longest.as_secs_f64()
        );
        ensure!(longest <= GOAL, "{longest:?} after there is space again");
        Ok(told)
    }
}

/// Two transactions that wait for their decisions.
struct Halves {
    decide: watch::Sender<bool>,
    asked: Arc<AtomicUsize>,
    _waiting: JoinSet<()>,
}

impl Halves {
    async fn send(client: &Client) -> Result<Halves> {
        let asked = Arc::<AtomicUsize>::default();
        let counted = asked.clone();
        let producer = client.transaction_producer("payers", move |_| {
            counted.fetch_add(1, Relaxed);
            Decision::Unknown
        });
        let producer = Arc::new(producer);
        let decide = watch::Sender::new(false);
        let sent = Arc::<AtomicUsize>::default();
        let mut waiting = JoinSet::new();
        for (text, decision) in [(COMMITTED, Decision::Commit), (ROLLED_BACK, Decision::Rollback)] {
            let (producer, mut decided, sent) = (producer.clone(), decide.subscribe(), sent.clone());
            waiting.spawn(async move {
                let local = |_: &client::Sent| async move {
                    sent.fetch_add(1, Relaxed);
                    // A test that has ended decides nothing.
                    let _ = decided.wait_for(|decided| *decided).await;
                    decision
                };
                let _ = producer.send(Message::new(TOPIC, text), local).await;
            });
        }
        let halves = Halves { decide, asked, _waiting: waiting };
        let deadline = Instant::now() + SOON;
        while sent.load(Relaxed) < 2 {
            ensure!(Instant::now() < deadline, "half messages are not stored");
            sleep(Duration::from_millis(10)).await;
        }
        Ok(halves)
    }

    fn decide(&self) {
        self.decide.send_replace(true);
    }
}

/// Sends to one queue until it is refused for lack of space; what was acknowledged.
async fn fill_queue(producer: Producer, writer: u32, queue: Queue) -> Result<Told> {
    let mut told = Told::new();
    for number in 0.. {
        let name = Name { writer, number };
        match producer.send_to(&queue, Message::new(TOPIC, body(name))).await {
            Ok(sent) if sent.status == SendStatus::Ok => drop(told.insert((sent.queue, sent.offset), name)),
            // It may be stored: nobody was promised anything.
            Ok(_) => {}
            failed => {
                refused(&failed)?;
                break;
            }
        }
    }
    Ok(told)
}

/// What disks that are full must look like to a sender.
fn refused(sent: &client::Outcome<client::Sent>) -> Result<()> {
    match sent {
        Err(Error::Refused { code, remark, .. })
            if *code == code::response::SERVICE_NOT_AVAILABLE && remark.contains("disk full") =>
        {
            Ok(())
        }
        other => bail!("expected 14 and 'disk full', and it is {other:?}"),
    }
}

/// Large, so that disks are soon full; and known by its name.
fn body(name: Name) -> Bytes {
    name.body().repeat(16).into()
}

fn half(told: &Told, queue: &Queue) -> i64 {
    told.keys().filter(|(of, _)| of == queue).count() as i64 / 2
}

/// While a virtual broker changes hands it is asked again.
async fn patiently<T, F: Future<Output = client::Outcome<T>>>(ask: impl Fn() -> F) -> Result<T> {
    let deadline = Instant::now() + SOON;
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}
