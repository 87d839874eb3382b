//! Eight producers and eight consumers, and a journal of what they see.
//!
//! Four producers keep to a queue each and say everything again until it is acknowledged; four send to any queue, as
//! most do. Four consumers share a group that is handed messages as they come, four one that is handed them in order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use client::{Client, Consumed, From, Message, Producer, PushConsumer, Queue, SendStatus, TopicSettings};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::journal::{Journal, Log};
use crate::entry::Name;

pub const TOPIC: &str = "load";
const PRODUCERS: u32 = 8;
const MEMBERS: usize = 4;
const ANYHOW: &str = "anyhow";
const IN_ORDER: &str = "in-order";
/// On each virtual broker.
const QUEUES: i32 = 2;
/// Between two messages of a producer.
const PACE: Duration = Duration::from_millis(8);
/// After a failure.
const AGAIN: Duration = Duration::from_millis(20);
/// Until everything is read back, and handed out.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Traffic {
    client: Client,
    seen: Arc<Seen>,
    stop: watch::Sender<bool>,
    producing: JoinSet<()>,
    consumers: Vec<PushConsumer>,
    /// When the fault began; gaps are looked for from there.
    fault: Duration,
}

struct Seen {
    began: Instant,
    journal: Mutex<Journal>,
}

impl Seen {
    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many messages each producer has had acknowledged, and each group was given.
    fn counts(&self) -> (BTreeMap<u32, usize>, BTreeMap<String, usize>) {
        let journal = self.journal();
        (journal.told(), journal.taken())
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Traffic {
    /// Makes the topic, and returns when every producer has had messages acknowledged and every group was given some.
    pub async fn start(namesrvs: &str) -> Result<Traffic> {
        let client = Client::new(namesrvs)?;
        let settings =
            TopicSettings { read_queues: QUEUES, write_queues: QUEUES, ..TopicSettings::default() };
        client.admin().create_topic(TOPIC, &settings).await.context("create the topic")?;
        let queues = queues(&client, TOPIC).await?;
        let seen = Arc::new(Seen { began: Instant::now(), journal: Mutex::default() });
        let mut consumers = Vec::new();
        for member in 0..2 * MEMBERS {
            let group = if member % 2 == 0 { ANYHOW } else { IN_ORDER };
            consumers.push(consume(&Client::new(namesrvs)?, group, seen.clone()).await?);
        }
        let stop = watch::Sender::new(false);
        let mut producing = JoinSet::new();
        for writer in 0..PRODUCERS {
            let producer = Client::new(namesrvs)?.producer("producers");
            let queue = (writer % 2 == 0).then(|| queues.get(writer as usize * 2).cloned()).flatten();
            producing.spawn(produce(producer, writer, queue, seen.clone(), stop.subscribe()));
        }
        let traffic = Traffic { client, seen, stop, producing, consumers, fault: Duration::ZERO };
        traffic.must_flow("after its start", Duration::from_secs(60)).await?;
        Ok(traffic)
    }

    /// Fails unless every producer has messages acknowledged, and every group is given some, within this time.
    pub async fn must_flow(&self, when: &str, within: Duration) -> Result<()> {
        let (told, taken) = self.seen.counts();
        let (more_told, more_taken) = (20, 100);
        let deadline = Instant::now() + within;
        loop {
            let (now_told, now_taken) = self.seen.counts();
            let grown =
                |producer| now_told.get(&producer) >= Some(&(told.get(&producer).unwrap_or(&0) + more_told));
            let given = |group| now_taken.get(group) >= Some(&(taken.get(group).unwrap_or(&0) + more_taken));
            if (0..PRODUCERS).all(grown) && [ANYHOW, IN_ORDER].into_iter().all(given) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "{when} not all was acknowledged and handed out in {within:?}: {told:?} became {now_told:?}, {taken:?} became {now_taken:?}"
                );
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// A fault begins now.
    pub fn fault(&mut self) {
        self.fault = self.seen.now();
    }

    /// The longest silence of any producer since the fault began.
    pub fn gap(&self) -> Duration {
        self.seen.journal().longest_silence(self.fault, self.seen.now()).0
    }

    /// Ends the load, reads everything back, and judges.
    pub async fn finish(mut self) -> Result<()> {
        let end = self.seen.now();
        self.stop.send_replace(true);
        timeout(PATIENCE, async { while self.producing.join_next().await.is_some() {} })
            .await
            .context("a producer does not get its last message stored")?;
        let log =
            timeout(PATIENCE, read_all(&self.client)).await.context("reading back takes too long")??;
        let total: usize = log.values().map(Vec::len).sum();
        let deadline = Instant::now() + PATIENCE;
        while self.seen.journal().taken().values().any(|taken| *taken < total) && Instant::now() < deadline {
            sleep(Duration::from_millis(50)).await;
        }
        let journal = self.seen.journal();
        let tally = journal.judge(&log, IN_ORDER)?;
        let (silence, producer) = journal.longest_silence(self.fault, end);
        let wait = |group| journal.longest_wait(group, self.fault).as_secs_f64();
        println!(
            "      longest gap {:.2} s (producer {producer}), until handed out {:.2} s, in order {:.2} s",
            silence.as_secs_f64(),
            wait(ANYHOW),
            wait(IN_ORDER)
        );
        println!(
            "      {} messages: 0 lost, 0 out of order; {} stored twice, {} handed out twice, {} sends failed",
            tally.messages, tally.copies, tally.again, journal.refused
        );
        drop(journal);
        self.consumers.clear();
        Ok(())
    }
}

/// All queues of a topic, once every virtual broker has it.
pub async fn queues(client: &Client, topic: &str) -> Result<Vec<Queue>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // The name servers hear of the topic a moment after it is made.
        let route = client.admin().route(topic).await;
        let count = route.map_or(0, |route| route.queue_datas.len());
        if count > 0 && count == client.admin().masters().await?.len() {
            return Ok(client.pull_consumer("reader").queues(topic).await?);
        }
        ensure!(Instant::now() < deadline, "only {count} brokers have the topic");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn consume(client: &Client, group: &'static str, seen: Arc<Seen>) -> Result<PushConsumer> {
    let builder = client.push_consumer(group).subscribe(TOPIC, "*").from(From::First);
    let builder = if group == IN_ORDER { builder.in_order() } else { builder };
    let listener = move |messages: Vec<client::Received>| {
        let seen = seen.clone();
        async move {
            let at = seen.now();
            for message in messages {
                let place = (message.queue.clone(), message.offset);
                seen.journal().given(group, place, Name::of(&message.body), at);
            }
            Consumed::Done
        }
    };
    Ok(builder.start(listener).await?)
}

async fn produce(
    producer: Producer,
    writer: u32,
    queue: Option<Queue>,
    seen: Arc<Seen>,
    stop: watch::Receiver<bool>,
) {
    for number in 0.. {
        let name = Name { writer, number };
        loop {
            let message = Message::new(TOPIC, name.body());
            let sent = match &queue {
                Some(queue) => producer.send_to(queue, message).await,
                None => producer.send(message).await,
            };
            if let Ok(sent) = sent
                && sent.status == SendStatus::Ok
            {
                let at = seen.now();
                seen.journal().acknowledged(name, (sent.queue, sent.offset), at);
                break;
            }
            seen.journal().refused += 1;
            sleep(AGAIN).await;
        }
        if *stop.borrow() {
            return;
        }
        sleep(PACE).await;
    }
}

/// All queues, from their first message to their last.
async fn read_all(client: &Client) -> Result<Log> {
    let reader = client.pull_consumer("reader");
    let mut log = BTreeMap::new();
    for queue in queues(client, TOPIC).await? {
        let (mut at, end) = (reader.min(&queue).await?, reader.max(&queue).await?);
        let messages: &mut Vec<_> = log.entry(queue.clone()).or_default();
        while at < end {
            let pulled = reader.pull(&queue, "*", at, 32, Duration::ZERO).await?;
            ensure!(pulled.next > at, "{queue} ends at {end}, and has nothing at {at}");
            messages.extend(pulled.messages.iter().map(|message| (message.offset, Name::of(&message.body))));
            at = pulled.next;
        }
    }
    Ok(log)
}
