//! The steps of each order are consumed one after the other: `cargo run -p client --example orderly -- NAMESRV TOPIC`.

use client::{Client, Consumed, From, Message, Outcome};
use tokio::sync::mpsc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let namesrv = arguments.next().unwrap_or_else(|| "127.0.0.1:9876".to_owned());
    let topic = arguments.next().unwrap_or_else(|| "example".to_owned());
    let client = Client::new(&namesrv)?;
    let producer = client.producer("example-producer");
    for step in 0..4 {
        for order in 0..3 {
            let message = Message::new(topic.as_str(), format!("step {step} of order {order}")).tag("step");
            producer.send_ordered(message, &format!("order-{order}")).await?;
        }
    }
    let (heard, mut steps) = mpsc::unbounded_channel();
    let consumer = client
        .push_consumer("example-orders")
        .subscribe(&topic, "step")
        .from(From::First)
        .in_order()
        .start(move |messages| {
            messages.into_iter().for_each(|message| drop(heard.send(message)));
            async { Consumed::Done }
        })
        .await?;
    for _ in 0..12 {
        let Some(message) = steps.recv().await else { break };
        println!("{}: {}", message.queue, String::from_utf8_lossy(&message.body));
    }
    consumer.stop().await;
    Ok(())
}
