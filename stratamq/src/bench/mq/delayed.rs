//! Messages that wait at the broker before they come.

use std::time::Duration;

use broker::state::DelayLevels;
use clap::Args;
use client::Lane;

#[derive(Args)]
pub struct Delayed {
    /// Send with this delay level: 1 is 1 s, 2 is 5 s, 18 is 2 h, as long as the brokers' messageDelayLevel is RocketMQ's
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u16).range(1..=18))]
    delay: Option<u16>,
}

impl Delayed {
    /// How long a message waits.
    pub fn wait(&self) -> Duration {
        let ms = self.delay.and_then(|level| DelayLevels::default().delay(level));
        Duration::from_millis(ms.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0))
    }

    pub fn lanes(&self, lanes: Vec<Lane>) -> Vec<Lane> {
        match self.delay {
            Some(level) => lanes.into_iter().map(|lane| lane.delayed(level)).collect(),
            None => lanes,
        }
    }
}
