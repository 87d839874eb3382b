//! Topics, groups, offsets, and where messages are: `cargo run -p client --example admin -- NAMESRV TOPIC`. What it makes
//! is called TOPIC-admin, and deleted at the end.

use client::{Client, Message, Outcome, TopicSettings};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let namesrv = arguments.next().unwrap_or_else(|| "127.0.0.1:9876".to_owned());
    let topic = arguments.next().unwrap_or_else(|| "example".to_owned()) + "-admin";
    let client = Client::new(&namesrv)?;
    let admin = client.admin();
    for (name, address) in admin.masters().await? {
        println!("broker {name} is at {address}");
    }
    admin
        .create_topic(&topic, &TopicSettings { read_queues: 1, write_queues: 1, ..Default::default() })
        .await?;
    admin.create_group("example-auditors").await?;
    let message = Message::new(topic.as_str(), "hello").key("order-7");
    let sent = client.producer("example-producer").send(message).await?;
    for found in admin.find(&topic, "order-7", 10).await? {
        println!("key order-7 is in {} at {}", found.queue, found.offset);
    }

    let consumer = client.pull_consumer("example-auditors");
    consumer.commit(&sent.queue, sent.offset + 1).await?;
    println!("consumed by {}", admin.groups(&topic).await?.join(", "));
    // To the oldest message.
    for (queue, offset) in admin.reset("example-auditors", &topic, 0).await? {
        println!("in {queue} the group goes on at {offset}");
    }
    for (queue, place) in admin.places("example-auditors", Some(&topic)).await? {
        println!("in {queue} {} wait for the group", place.lag());
    }
    for (queue, extent) in admin.extents(&topic).await? {
        println!("{queue} goes from {} to {}", extent.min_offset, extent.max_offset);
    }
    admin.delete_group("example-auditors").await?;
    admin.delete_topic(&topic).await?;
    println!("deleted: {} topics are left", admin.topics().await?.len());
    Ok(())
}
