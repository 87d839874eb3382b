//! Sends messages: `cargo run -p client --example send -- NAMESRV TOPIC`.

use client::{Client, Message, Outcome};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let namesrv = arguments.next().unwrap_or_else(|| "127.0.0.1:9876".to_owned());
    let topic = arguments.next().unwrap_or_else(|| "example".to_owned());
    let producer = Client::new(&namesrv)?.producer("example-producer");
    for number in 0..10 {
        let message =
            Message::new(topic.as_str(), format!("hello {number}")).tag("greeting").key(&number.to_string());
        let sent = producer.send(message).await?;
        println!("{} is in {} at {}", sent.message_id, sent.queue, sent.offset);
    }
    Ok(())
}
