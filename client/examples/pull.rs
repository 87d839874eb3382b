//! Asks for messages, and commits how far it has come: `cargo run -p client --example pull -- NAMESRV TOPIC`.

use std::time::Duration;

use client::{Client, Outcome};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let namesrv = arguments.next().unwrap_or_else(|| "127.0.0.1:9876".to_owned());
    let topic = arguments.next().unwrap_or_else(|| "example".to_owned());
    let consumer = Client::new(&namesrv)?.pull_consumer("example-reports");
    for queue in consumer.queues(&topic).await? {
        let mut offset = match consumer.committed(&queue).await? {
            Some(offset) => offset,
            None => consumer.min(&queue).await?,
        };
        loop {
            let pulled = consumer.pull(&queue, "*", offset, 32, Duration::ZERO).await?;
            for message in &pulled.messages {
                println!("{queue} {}: {}", message.offset, String::from_utf8_lossy(&message.body));
            }
            if pulled.next == offset {
                break;
            }
            offset = pulled.next;
        }
        consumer.commit(&queue, offset).await?;
    }
    Ok(())
}
