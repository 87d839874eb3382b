//! Receives messages until Ctrl-C: `cargo run -p client --example receive -- NAMESRV TOPIC`.

use client::{Client, Consumed, From, Outcome};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let namesrv = arguments.next().unwrap_or_else(|| "127.0.0.1:9876".to_owned());
    let topic = arguments.next().unwrap_or_else(|| "example".to_owned());
    let client = Client::new(&namesrv)?;
    let consumer = client
        .push_consumer("example-consumer")
        .subscribe(&topic, "*")
        .from(From::First)
        .start(|messages| async move {
            for message in messages {
                println!("{} {}: {}", message.queue, message.offset, String::from_utf8_lossy(&message.body));
            }
            Consumed::Done
        })
        .await?;
    tokio::signal::ctrl_c().await.ok();
    consumer.stop().await;
    Ok(())
}
