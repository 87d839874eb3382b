//! A message that is seen only if the work that goes with it succeeds:
//! `cargo run -p client --example transaction -- NAMESRV TOPIC`.

use client::{Client, Decision, Message, Outcome};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let namesrv = arguments.next().unwrap_or_else(|| "127.0.0.1:9876".to_owned());
    let topic = arguments.next().unwrap_or_else(|| "example".to_owned());
    let client = Client::new(&namesrv)?;
    // The broker asks this if it never hears of a decision.
    let producer = client.transaction_producer("example-payments", |message| {
        println!("asked about {}", message.message_id);
        Decision::Commit
    });
    for order in 0..4 {
        let message = Message::new(topic.as_str(), format!("order {order} is paid"));
        let (sent, decision) = producer
            .send(
                message,
                |_| async move { if order % 2 == 0 { Decision::Commit } else { Decision::Rollback } },
            )
            .await?;
        println!("{}: {decision:?}", sent.message_id);
    }
    Ok(())
}
