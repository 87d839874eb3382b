//! `e2e`: from the intended time of sending until the consumer has it; with a delay, from when it is due.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use client::{Client, PullConsumer, Queue};
use tokio::task::JoinSet;

use super::delayed::Delayed;
use super::load::Sender;
use super::tally::{Bodies, Tally, Window, stamp};
use super::{Common, Target, connect, failed, lanes, make_topic};
use crate::bench::figures::Measured;
use crate::bench::load::Pace;
use crate::error::{Error, Outcome};

/// A pull is held for so long, as a Java consumer's is.
const HOLD: Duration = Duration::from_secs(15);

#[derive(Args)]
pub struct E2e {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    delayed: Delayed,
    /// Messages per second
    #[arg(long, value_name = "R", default_value_t = 1000)]
    rate: u64,
}

impl E2e {
    pub async fn run(&self) -> Outcome {
        if self.rate == 0 || self.rate > 10_000_000 {
            return Err(Error::Usage("--rate: from 1 to 10000000 per second".into()));
        }
        self.common.measure(async |target, title| self.leg(target, title).await).await
    }

    async fn leg(&self, target: &Target, title: String) -> Outcome<Measured> {
        let common = &self.common;
        let client = connect(&target.namesrv)?;
        make_topic(&client, &common.topic, common.queues).await?;
        let run = u64::from(std::process::id()) << 32 | u64::from(rand::random::<u32>());
        let tally = Tally::new()?;
        let consuming = consume(&client, &common.topic, run, &tally).await?;
        let lanes = self.delayed.lanes(lanes(&target.namesrv, &common.topic, 1).await?);
        // A delayed message is measured from when it is due.
        let wait = self.delayed.wait();
        let bodies = Bodies::new(common.size.0 as usize, run);
        let window = Window::new(title, &target.pids, common.size.0 as usize);
        let mut sender =
            Sender::new(lanes, tally, Pace::Rate(self.rate), common.size.0 as usize).heard_elsewhere(wait);
        let measured = sender
            .run(window, common.warm_up.0, common.measured(), |intended| bodies.stamped(intended + wait))
            .await;
        drop(consuming);
        measured
    }
}

/// One consumer with a pull under way on each queue, from the newest message on.
async fn consume(client: &Client, topic: &str, run: u64, tally: &Arc<Tally>) -> Outcome<JoinSet<()>> {
    let consumer = client.pull_consumer("stratamq_bench");
    let mut tasks = JoinSet::new();
    for queue in consumer.queues(topic).await.map_err(failed)? {
        let offset = consumer.max(&queue).await.map_err(failed)?;
        tasks.spawn(follow(consumer.clone(), queue, offset, run, tally.clone()));
    }
    if tasks.is_empty() {
        return Err(Error::Failed(format!("topic '{topic}' has no queue that can be read")));
    }
    Ok(tasks)
}

async fn follow(consumer: PullConsumer, queue: Queue, mut offset: i64, run: u64, tally: Arc<Tally>) {
    loop {
        match consumer.pull(&queue, "*", offset, 32, HOLD).await {
            Ok(pulled) => {
                let stamps = pulled.messages.iter().filter_map(|message| stamp(&message.body, run));
                stamps.for_each(|intended| tally.done(intended));
                offset = pulled.next;
            }
            Err(error) => {
                tracing::warn!("{queue}: {error}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}
