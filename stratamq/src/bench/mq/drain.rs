//! `drain`: a backlog, as fast as one consumer takes it.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use client::{Client, PullConsumer, Queue};
use tokio::task::JoinSet;

use super::load::Sender;
use super::tally::{Bodies, Tally, Window};
use super::{Common, Target, connect, failed, lanes, make_topic};
use crate::bench::figures::Measured;
use crate::bench::load::Pace;
use crate::bench::pace::Beat;
use crate::config::Size;
use crate::error::{Error, Outcome};
use crate::output::say;

#[derive(Args)]
pub struct Drain {
    #[command(flatten)]
    common: Common,
    /// Written before, and then taken; a backlog larger than the brokers' memory comes from their disks
    #[arg(long, value_name = "BYTES", default_value = "1GB")]
    backlog: Size,
    /// Fill only: for a backlog that is to be cold, restart the brokers, then run with --filled
    #[arg(long, conflicts_with = "filled")]
    fill_only: bool,
    /// Take what the topic holds, without filling it first
    #[arg(long)]
    filled: bool,
    /// Puts so many percent of the backlog into one queue, and takes only that one
    #[arg(long, value_name = "PERCENT")]
    one_queue: Option<u32>,
    /// Messages in one pull
    #[arg(long, value_name = "N", default_value_t = 32)]
    batch: i32,
    /// Messages per second that are published to another topic meanwhile; their latencies are printed too
    #[arg(long, value_name = "R")]
    publish_rate: Option<u64>,
}

const IN_FLIGHT: u64 = 1024;
const TICK: Duration = Duration::from_millis(100);

impl Drain {
    pub async fn run(&self) -> Outcome {
        if self.one_queue.is_some_and(|percent| percent == 0 || percent > 100) || self.batch < 1 {
            return Err(Error::Usage("--one-queue: from 1 to 100; --batch: at least 1".into()));
        }
        self.common.measure(async |target, title| self.leg(target, title).await).await
    }

    async fn leg(&self, target: &Target, title: String) -> Outcome<Measured> {
        let client = connect(&target.namesrv)?;
        let consumer = client.pull_consumer("stratamq_bench");
        if self.filled {
            return self.drain(target, title, &consumer, None).await;
        }
        make_topic(&client, &self.common.topic, self.common.queues).await?;
        let begin = self.ends(&consumer).await?;
        let filled = self.fill(target, &title).await?;
        self.wait_until_visible(&consumer, &begin, filled.entries).await?;
        if self.fill_only {
            return Ok(filled);
        }
        self.drain(target, title, &consumer, Some(begin)).await
    }

    /// Where each queue ends now.
    async fn ends(&self, consumer: &PullConsumer) -> Outcome<Vec<(Queue, i64)>> {
        let mut ends = Vec::new();
        for queue in consumer.queues(&self.common.topic).await.map_err(failed)? {
            let end = consumer.max(&queue).await.map_err(failed)?;
            ends.push((queue, end));
        }
        Ok(ends)
    }

    /// A broker may acknowledge messages before it hands them out.
    async fn wait_until_visible(
        &self,
        consumer: &PullConsumer,
        begin: &[(Queue, i64)],
        messages: u64,
    ) -> Outcome {
        let before: i64 = begin.iter().map(|(_, offset)| offset).sum();
        for _ in 0..100 {
            let now: i64 = self.ends(consumer).await?.iter().map(|(_, offset)| offset).sum();
            if now - before >= messages as i64 {
                return Ok(());
            }
            tokio::time::sleep(TICK).await;
        }
        Err(Error::Failed("of what was acknowledged not all can be consumed after 10 s".to_owned()))
    }

    async fn fill(&self, target: &Target, title: &str) -> Outcome<Measured> {
        let size = self.common.size.0;
        let mut lanes = lanes(&target.namesrv, &self.common.topic, 1).await?;
        if lanes.len() > 1 && self.one_queue.is_some() {
            lanes.rotate_left(1);
        }
        let tally = Tally::new()?;
        let mut window = Window::new(format!("{title}, filling"), &target.pids, size as usize);
        window.open(&tally)?;
        let mut sender = Sender::new(lanes, tally.clone(), Pace::InFlight(IN_FLIGHT), size as usize);
        if let Some(percent) = self.one_queue {
            sender = sender.rarely_to_last(percent);
        }
        let bodies = Bodies::new(size as usize, 0);
        let mut left = (self.backlog.0 / size).max(1);
        let beat = Beat::every(TICK)?;
        let mut next_look = tally.now();
        while left > 0 {
            left -= sender.send(left, |_| bodies.plain());
            if tally.now() >= next_look {
                next_look = tally.now() + TICK;
                window.look(&tally, tally.now());
                sender.check()?;
            }
            tokio::select! {
                biased;
                () = tally.bell.notified() => {}
                beat = beat.next() => beat?,
            }
        }
        let lost = sender.finish().await;
        if let Some(error) = tally.first_error() {
            return Err(Error::Failed(format!("the backlog could not be written: {error}")));
        }
        let mut measured = window.close(&tally)?;
        measured.errors += lost;
        Ok(measured)
    }

    async fn drain(
        &self,
        target: &Target,
        title: String,
        consumer: &PullConsumer,
        begin: Option<Vec<(Queue, i64)>>,
    ) -> Outcome<Measured> {
        let tally = Tally::new()?;
        let mut tasks = JoinSet::new();
        let mut ends = self.ends(consumer).await?;
        if self.one_queue.is_some() {
            ends.truncate(1);
        }
        let mut ranges = Vec::new();
        for (queue, end) in ends {
            let known = begin.iter().flatten().find(|(other, _)| *other == queue).map(|(_, begin)| *begin);
            let offset = match known {
                Some(begin) => begin,
                None => consumer.min(&queue).await.map_err(failed)?,
            };
            ranges.push((queue, offset, end));
        }
        // None of them begins before the others: a consumer knows its queues when it begins.
        for (queue, offset, end) in ranges {
            tally.sent((end - offset).max(0) as u64);
            tasks.spawn(take(consumer.clone(), queue, offset, end, self.batch, tally.clone()));
        }
        let meanwhile = match self.publish_rate {
            Some(rate) => Some(self.publish(target, rate).await?),
            None => None,
        };
        let mut window = Window::new(title, &target.pids, self.common.size.0 as usize);
        window.open(&tally)?;
        let beat = Beat::every(TICK)?;
        loop {
            tokio::select! {
                biased;
                done = tasks.join_next() => match done {
                    Some(Ok(taken)) => taken?,
                    Some(Err(error)) => return Err(Error::Failed(error.to_string())),
                    None => break,
                },
                beat = beat.next() => {
                    beat?;
                    window.look(&tally, tally.now());
                }
            }
        }
        let measured = window.close(&tally)?;
        if let Some(meanwhile) = meanwhile {
            meanwhile.report(self.common.json).await?;
        }
        Ok(measured)
    }

    async fn publish(&self, target: &Target, rate: u64) -> Outcome<Meanwhile> {
        let topic = format!("{}_meanwhile", self.common.topic);
        let client = connect(&target.namesrv)?;
        make_topic(&client, &topic, self.common.queues).await?;
        let lanes = lanes(&target.namesrv, &topic, 1).await?;
        let size = self.common.size.0 as usize;
        let tally = Tally::new()?;
        let mut sender = Sender::new(lanes, tally.clone(), Pace::Rate(rate), size);
        let mut window = Window::new(String::new(), &[], size);
        window.open(&tally)?;
        let publishing = tokio::spawn(async move {
            let bodies = Bodies::new(size, 0);
            let beat = sender.beat()?;
            loop {
                sender.check()?;
                sender.send(u64::MAX, |_| bodies.plain());
                beat.next().await?;
            }
        });
        Ok(Meanwhile { client, tally, window, publishing })
    }
}

/// Publishing beside the drain.
struct Meanwhile {
    #[expect(dead_code, reason = "keeps its connections")]
    client: Client,
    tally: Arc<Tally>,
    window: Window,
    publishing: tokio::task::JoinHandle<Outcome>,
}

impl Meanwhile {
    async fn report(self, json: bool) -> Outcome {
        self.publishing.abort();
        if let Ok(Err(error)) = self.publishing.await {
            return Err(error);
        }
        let measured = self.window.close(&self.tally)?;
        let ms = |quantile| measured.latencies.value_at_quantile(quantile) as f64 / 1000.0;
        let (p50, p99, p999) = (ms(0.5), ms(0.99), ms(0.999));
        let rate = measured.per_second();
        if json {
            let line = serde_json::json!({
                "side": "published meanwhile", "per_second": rate, "p50_ms": p50, "p99_ms": p99, "p999_ms": p999,
            });
            say!("{line}");
        } else {
            say!("published meanwhile: {rate:.0} per second, p50 {p50:.3}, p99 {p99:.3}, p99.9 {p999:.3} ms");
        }
        Ok(())
    }
}

/// Takes one queue from `offset` to `end`.
async fn take(
    consumer: PullConsumer,
    queue: Queue,
    mut offset: i64,
    end: i64,
    batch: i32,
    tally: Arc<Tally>,
) -> Outcome {
    while offset < end {
        let pulled = consumer.count(&queue, offset, batch).await.map_err(failed)?;
        if pulled.next <= offset {
            return Err(Error::Failed(format!("{queue}: a pull at {offset} of {end} brought nothing")));
        }
        tally.took(pulled.messages);
        offset = pulled.next;
    }
    Ok(())
}
