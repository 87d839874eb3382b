//! `topics`: many topics against one.

use clap::Args;
use client::Lane;

use super::load::Sender;
use super::tally::{Bodies, Tally, Window};
use super::{Common, connect, failed, make_topic};
use crate::bench::load::Pace;
use crate::bench::sides::{self, Side};
use crate::error::{Error, Outcome};

#[derive(Args)]
pub struct Topics {
    #[command(flatten)]
    common: Common,
    /// Topics, of one queue on each broker
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    topics: usize,
    /// Messages unacknowledged at any time
    #[arg(long, value_name = "N", default_value_t = 1024)]
    in_flight: u64,
}

/// Topics that are made at the same time.
const AT_ONCE: usize = 32;

impl Topics {
    pub async fn run(&self) -> Outcome {
        if self.common.versus.is_some() {
            return Err(Error::Usage("topics compares many topics with one: there is no --versus".into()));
        }
        if self.topics == 0 || self.in_flight == 0 {
            return Err(Error::Usage("--topics and --in-flight are at least 1".into()));
        }
        self.common.check()?;
        let common = &self.common;
        let side = |name: String, topics: usize| Side::new(name, &*common.namesrv, &common.pid, topics);
        let mut sides =
            [side(format!("{} topics", self.topics), self.topics)?, side("1 topic".to_owned(), 1)?];
        for round in 0..common.rounds {
            for side in &mut sides {
                let title = format!("{} round {}", side.name, round + 1);
                side.round(common.disk.as_ref(), async |topics| self.leg(*topics, title).await).await?;
            }
        }
        sides::report(sides.into(), 1, common.json)
    }

    async fn leg(&self, topics: usize, title: String) -> Outcome<crate::bench::figures::Measured> {
        let common = &self.common;
        let lanes = self.lanes(topics).await?;
        let size = common.size.0 as usize;
        let bodies = Bodies::new(size, 0);
        let window = Window::new(title, &common.pid, size);
        let mut sender = Sender::new(lanes, Tally::new()?, Pace::InFlight(self.in_flight), size);
        sender.run(window, common.warm_up.0, common.measured(), |_| bodies.plain()).await
    }

    async fn lanes(&self, topics: usize) -> Outcome<Vec<Lane>> {
        let client = connect(&self.common.namesrv)?;
        if topics == 1 {
            make_topic(&client, &self.common.topic, self.common.queues).await?;
            return super::lanes(&self.common.namesrv, &self.common.topic, 1).await;
        }
        let names: Vec<String> = (0..topics).map(|topic| format!("{}_{topic}", self.common.topic)).collect();
        let producer = client.producer("stratamq_bench");
        let mut lanes = Vec::new();
        for some in names.chunks(AT_ONCE) {
            let mut making = tokio::task::JoinSet::new();
            for name in some {
                let (client, name) = (client.clone(), name.clone());
                making.spawn(async move { make_topic(&client, &name, 1).await });
            }
            while let Some(made) = making.join_next().await {
                made.map_err(|error| Error::Failed(error.to_string()))??;
            }
            for name in some {
                for queue in producer.queues(name).await.map_err(failed)? {
                    lanes.push(producer.lane(&queue).await.map_err(failed)?);
                }
            }
        }
        Ok(lanes)
    }
}
