//! `publish` and `latency`: how fast messages are taken.

use clap::Args;

use super::delayed::Delayed;
use super::load::Sender;
use super::tally::{Bodies, Tally, Window};
use super::{Common, Target, connect, lanes, make_topic};
use crate::bench::figures::Measured;
use crate::bench::load::Pace;
use crate::error::{Error, Outcome};

#[derive(Args)]
pub struct Publish {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    delayed: Delayed,
    /// Messages unacknowledged at any time, over all connections
    #[arg(long, value_name = "N", default_value_t = 64)]
    in_flight: u64,
    /// Connections to each broker; a Java client has one
    #[arg(long, value_name = "N", default_value_t = 1)]
    connections: usize,
}

#[derive(Args)]
pub struct Latency {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    delayed: Delayed,
    /// Messages per second
    #[arg(long, value_name = "R", default_value_t = 2000)]
    rate: u64,
    /// Connections to each broker; a Java client has one
    #[arg(long, value_name = "N", default_value_t = 1)]
    connections: usize,
}

impl Publish {
    pub async fn run(&self) -> Outcome {
        if self.in_flight == 0 {
            return Err(Error::Usage("--in-flight is at least 1".into()));
        }
        let pace = Pace::InFlight(self.in_flight);
        let load = Load { common: &self.common, delayed: &self.delayed, pace, connections: self.connections };
        self.common.measure(async |target, title| load.publish(target, title).await).await
    }
}

impl Latency {
    pub async fn run(&self) -> Outcome {
        if self.rate == 0 || self.rate > 10_000_000 {
            return Err(Error::Usage("--rate: from 1 to 10000000 per second".into()));
        }
        let pace = Pace::Rate(self.rate);
        let load = Load { common: &self.common, delayed: &self.delayed, pace, connections: self.connections };
        self.common.measure(async |target, title| load.publish(target, title).await).await
    }
}

/// What both of them do.
struct Load<'a> {
    common: &'a Common,
    delayed: &'a Delayed,
    pace: Pace,
    connections: usize,
}

impl Load<'_> {
    async fn publish(&self, target: &Target, title: String) -> Outcome<Measured> {
        let common = self.common;
        make_topic(&connect(&target.namesrv)?, &common.topic, common.queues).await?;
        let lanes = lanes(&target.namesrv, &common.topic, self.connections).await?;
        let bodies = Bodies::new(common.size.0 as usize, 0);
        let window = Window::new(title, &target.pids, common.size.0 as usize);
        let lanes = self.delayed.lanes(lanes);
        let mut sender = Sender::new(lanes, Tally::new()?, self.pace, common.size.0 as usize);
        sender.run(window, common.warm_up.0, common.measured(), |_| bodies.plain()).await
    }
}
