//! All other ways to send than one after the other: `cargo run -p client --example sending -- NAMESRV TOPIC`.

use client::{Client, Message, Outcome};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let namesrv = arguments.next().unwrap_or_else(|| "127.0.0.1:9876".to_owned());
    let topic = arguments.next().unwrap_or_else(|| "example".to_owned());
    let producer = Client::new(&namesrv)?.producer("example-producer");
    let message = |body: &str| Message::new(topic.as_str(), body.to_owned());

    let sent = producer.send_batch(vec![message("red"), message("green"), message("blue")]).await?;
    println!("a batch: three messages are in {} from {} on", sent.queue, sent.offset);

    let (one, other) = tokio::try_join!(producer.send(message("one")), producer.send(message("other")))?;
    println!("at the same time: {} and {}", one.message_id, other.message_id);

    for step in ["ordered", "paid"] {
        let sent = producer.send_ordered(message(step), "order-7").await?;
        println!("in order: {step} is in {} at {}", sent.queue, sent.offset);
    }

    let sent = producer.send_selected(message("chosen"), |queues| queues.len() - 1).await?;
    println!("to the last queue: {}", sent.queue);

    producer.send(message("later").delay_level(1)).await?;
    println!("delayed: consumers get it in a second");

    producer.send_one_way(message("gone")).await?;
    println!("one-way: nobody says whether it has arrived");
    Ok(())
}
