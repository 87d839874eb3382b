//! What both suites begin with, and wait for.

use std::ops::Range;
use std::time::Duration;

use client::{Client, From, Message, Outcome, Producer, PushBuilder};
use tokio::time::{sleep, timeout};

pub async fn until(seconds: u64, mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(Duration::from_secs(seconds), waiting).await.is_ok(), "it did not happen in time");
}

/// Messages whose bodies are these numbers, one after the other.
pub async fn send_numbers(producer: &Producer, numbers: Range<usize>) -> Outcome {
    for number in numbers {
        producer.send(Message::new("t", number.to_string())).await?;
    }
    Ok(())
}

/// A member of group c that begins with the first message of t.
pub fn member(client: &Client) -> PushBuilder {
    client.push_consumer("c").subscribe("t", "*").from(From::First)
}
