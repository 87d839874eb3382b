//! Every member gets every message: `cargo run -p client --example broadcast -- NAMESRV TOPIC`.

use std::time::SystemTime;

use client::{Client, Consumed, From, Message, Outcome};
use tokio::sync::mpsc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let namesrv = arguments.next().unwrap_or_else(|| "127.0.0.1:9876".to_owned());
    let topic = arguments.next().unwrap_or_else(|| "example".to_owned());
    let client = Client::new(&namesrv)?;
    let producer = client.producer("example-producer");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis());
    for number in 0..4 {
        producer.send(Message::new(topic.as_str(), format!("news {number}")).tag("news")).await?;
    }
    let (heard, mut news) = mpsc::unbounded_channel();
    let mut members = Vec::new();
    for name in ["first", "second"] {
        let heard = heard.clone();
        // Members of a group are told apart by their clients.
        let member = Client::new(&namesrv)?
            .push_consumer("example-listeners")
            .subscribe(&topic, "news")
            .from(From::Time(now as i64))
            .broadcast()
            .start(move |messages| {
                messages.into_iter().for_each(|message| drop(heard.send((name, message))));
                async { Consumed::Done }
            });
        members.push(member.await?);
    }
    for _ in 0..8 {
        let Some((name, message)) = news.recv().await else { break };
        println!("{name}: {}", String::from_utf8_lossy(&message.body));
    }
    for member in members {
        member.stop().await;
    }
    Ok(())
}
