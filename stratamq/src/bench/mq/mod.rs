//! `stratamq bench mq`: messages, on StrataMQ and on Apache RocketMQ alike.
//!
//! * [`publish`] — `publish`, closed loop, and `latency`, open loop.
//! * [`e2e`] — from the intended time of sending to the consumer.
//! * [`drain`] — a backlog, as fast as one consumer takes it.
//! * [`topics`] — many topics against one.
//! * [`load`] — the loop that sends; [`tally`] — what it counts; [`delayed`] — messages that wait.

mod delayed;
mod drain;
mod e2e;
mod load;
mod publish;
mod tally;
mod topics;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use client::{Client, Lane, Settings, TopicSettings};

use super::sides::{self, Side};
use crate::config::{Size, Span};
use crate::error::{Error, Outcome};

#[derive(Subcommand)]
pub enum Command {
    /// Closed loop: so many messages unacknowledged at any time
    Publish(publish::Publish),
    /// Open loop: so many per second, measured from their intended times
    Latency(publish::Latency),
    /// Open loop, measured from the intended time of sending to the consumer
    E2e(e2e::E2e),
    /// Fill a backlog, then take it as fast as one consumer can
    Drain(drain::Drain),
    /// Publish to many topics, and to one, in turns
    Topics(topics::Topics),
}

pub async fn run(command: Command) -> Outcome {
    match command {
        Command::Publish(arguments) => arguments.run().await,
        Command::Latency(arguments) => arguments.run().await,
        Command::E2e(arguments) => arguments.run().await,
        Command::Drain(arguments) => arguments.run().await,
        Command::Topics(arguments) => arguments.run().await,
    }
}

/// What all of them have to know.
#[derive(Args)]
pub struct Common {
    /// The name servers of the cluster to load
    #[arg(long, value_name = "H:P[;H:P]", default_value = "127.0.0.1:9876")]
    namesrv: String,
    /// Those of a second cluster, for comparison: it runs in turns with the first
    #[arg(long, value_name = "H:P[;H:P]")]
    versus: Option<String>,
    /// The topic. It is made, and stays
    #[arg(long, value_name = "TOPIC", default_value = "stratamq_bench")]
    topic: String,
    /// Queues, over all brokers
    #[arg(long, value_name = "N", default_value_t = 16)]
    queues: u32,
    /// Body of a message
    #[arg(long, value_name = "BYTES", default_value = "1KB")]
    size: Size,
    /// How long each round measures
    #[arg(long, value_name = "S", default_value_t = 10)]
    seconds: u64,
    /// How long the load runs before it is measured (Java brokers want 60s)
    #[arg(long, value_name = "TIME", default_value = "2s")]
    warm_up: Span,
    /// How often each side runs; with two sides in the order A B, B A, A B, …
    #[arg(long, value_name = "N", default_value_t = 1)]
    rounds: usize,
    /// Processes of the servers on this machine, all that serve the load: gives CPU, memory and disk bytes
    #[arg(long, value_name = "PID[,PID]", value_delimiter = ',')]
    pid: Vec<u32>,
    /// The same for the second cluster
    #[arg(long, value_name = "PID[,PID]", value_delimiter = ',', requires = "versus")]
    versus_pid: Vec<u32>,
    /// A folder on the servers' disk, to probe it; without it that of --pid, else the current folder
    #[arg(long, value_name = "DIR")]
    disk: Option<PathBuf>,
    /// One JSON object per side, for machines
    #[arg(long)]
    json: bool,
}

/// A cluster under load.
pub struct Target {
    pub namesrv: String,
    pub pids: Vec<u32>,
}

impl Common {
    fn check(&self) -> Outcome {
        if self.seconds == 0 || self.rounds == 0 || self.queues == 0 {
            return Err(Error::Usage("--seconds, --rounds and --queues are at least 1".into()));
        }
        if self.size.0 < tally::STAMP as u64 || self.size.0 > 4 << 20 {
            let least = tally::STAMP;
            return Err(Error::Usage(format!("--size: from {least} bytes to 4MB")));
        }
        Ok(())
    }

    fn sides(&self) -> Outcome<Vec<Side<Target>>> {
        self.check()?;
        let side = |name: &str, namesrv: &str, pids: &[u32]| {
            Side::new(name, namesrv, pids, Target { namesrv: namesrv.to_owned(), pids: pids.to_vec() })
        };
        let mut sides = vec![side("namesrv", &self.namesrv, &self.pid)?];
        if let Some(versus) = &self.versus {
            sides.push(side("versus", versus, &self.versus_pid)?);
        }
        Ok(sides)
    }

    /// Runs `leg` on each side in turns, and reports.
    async fn measure(
        &self,
        leg: impl AsyncFn(&Target, String) -> Outcome<super::figures::Measured>,
    ) -> Outcome {
        let mut sides = self.sides()?;
        for round in 0..self.rounds {
            let mut order: Vec<&mut Side<Target>> = sides.iter_mut().collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for side in order {
                let title = format!("{} round {}", side.name, round + 1);
                let run = async |target: &mut Target| {
                    tokio::select! {
                        biased;
                        _ = tokio::signal::ctrl_c() => Err(Error::Failed("interrupted".into())),
                        measured = leg(target, title) => measured,
                    }
                };
                side.round(self.disk.as_ref(), run).await?;
            }
        }
        sides::report(sides, 1, self.json)
    }

    fn measured(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

fn failed(error: client::Error) -> Error {
    Error::Failed(error.to_string())
}

/// A client that is never the bottleneck by its own limits.
pub fn connect(namesrv: &str) -> Outcome<Client> {
    let mut settings = Settings {
        name_servers: namesrv.to_owned(),
        timeout: Duration::from_secs(10),
        ..Settings::default()
    };
    settings.limits.most_unsent = 1 << 30;
    settings.limits.memory = 2 << 30;
    Client::with(settings).map_err(failed)
}

/// Makes a topic of `queues` queues over all brokers, and waits until it can be written to.
pub async fn make_topic(client: &Client, topic: &str, queues: u32) -> Outcome {
    let admin = client.admin();
    let brokers = admin.masters().await.map_err(failed)?.len().max(1);
    let each = (queues as usize).div_ceil(brokers) as i32;
    let settings = TopicSettings { read_queues: each, write_queues: each, ..TopicSettings::default() };
    admin.create_topic(topic, &settings).await.map_err(failed)?;
    wait_for_topic(client, topic, each as usize * brokers).await
}

async fn wait_for_topic(client: &Client, topic: &str, queues: usize) -> Outcome {
    for _ in 0..200 {
        let route = client.admin().route(topic).await;
        let seen = route
            .map_or(0, |route| route.queue_datas.iter().map(|q| q.write_queue_nums.max(0) as usize).sum());
        if seen >= queues {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(Error::Failed(format!("topic '{topic}' was made, but no name server knows it after 10 s")))
}

/// Lanes to all queues of a topic, over `connections` connections.
pub async fn lanes(namesrv: &str, topic: &str, connections: usize) -> Outcome<Vec<Lane>> {
    let mut clients = Vec::new();
    for _ in 0..connections.max(1) {
        clients.push(connect(namesrv)?);
    }
    let producers: Vec<_> = clients.iter().map(|client| client.producer("stratamq_bench")).collect();
    let mut lanes = Vec::new();
    let Some(first) = producers.first() else { return Ok(lanes) };
    let queues = first.queues(topic).await.map_err(failed)?;
    for at in 0..queues.len().max(producers.len()) {
        let (Some(producer), Some(queue)) =
            (producers.get(at % producers.len()), queues.get(at % queues.len().max(1)))
        else {
            return Err(Error::Failed(format!("topic '{topic}' has no queue that can be written to")));
        };
        lanes.push(producer.lane(queue).await.map_err(failed)?);
    }
    Ok(lanes)
}
