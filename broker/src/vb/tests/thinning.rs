use std::sync::Arc;
use std::time::Duration;

use ledger::log::Logs;

use super::world::*;
use crate::state::TopicId;
use crate::vb::{Limits, Record, Vb};

const LONG: TopicId = TopicId(2);

/// One message of each topic in one unit: they are in one entry. Where the first is.
fn send_both(vb: &Vb, body: &[u8], long: &str) -> u64 {
    let unit = [message(0, 0, body, &[1]), message(1, 1, long.as_bytes(), &[2])].map(Record::Message);
    let staged = vb.core().stage(&unit, vb.now()).unwrap();
    vb.drive();
    staged.first().unwrap().position
}

async fn long_messages(vb: &Vb) -> Vec<String> {
    let read = read_queue(vb, 1, 1, 0).await;
    read.iter().map(|message| String::from_utf8(message.body.to_vec()).unwrap()).collect()
}

/// 200 hours with a message of 500 bytes in each, every tenth together with one that is kept for long; what is where.
async fn filled(world: &World) -> (Arc<Vb>, Vec<u64>, Vec<String>) {
    let vb = world.founded().await;
    change(&vb, &kept_for_long(LONG, TOPICS[1].0)).unwrap();
    let (mut positions, mut long) = (Vec::new(), Vec::new());
    for number in 0..200 {
        let body = [b'x'; 500];
        positions.push(match number % 10 {
            0 => {
                long.push(number.to_string());
                send_both(&vb, &body, &number.to_string())
            }
            _ => send(&vb, 0, 0, &body).unwrap().first().unwrap().position,
        });
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
    (vb, positions, long)
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_kept_for_long_does_not_keep_the_messages_of_others() {
    let world = World::new(Limits::default(), 4000);
    let (vb, positions, long) = filled(&world).await;
    let links = world.logs.links(&name("vb-3")).await.unwrap();
    assert_eq!(links[0].base.0, 0, "the oldest message is needed");
    let (sparse, whole): (Vec<_>, Vec<_>) = links.iter().partition(|link| link.sparse.is_some());
    assert!(sparse.len() > 10 && whole.len() > 10, "{links:?}");
    assert!(sparse.iter().all(|link| link.sparse.unwrap() < 1500), "{sparse:?}");
    assert_eq!(long_messages(&vb).await, long);
    let vb = world.open().await;
    assert_eq!(long_messages(&vb).await, long);
    let first = min(&vb, TopicId(1), 0);
    assert!((120..135).contains(&first), "{first}");
    assert_eq!(read_queue(&vb, 0, 0, first).await.len() as u64, 200 - first);
    for (position, number) in positions.iter().zip(0..) {
        let found = vb.message_at(*position).await;
        let found = found.unwrap_or_else(|error| panic!("message {number} at {position}: {error}"));
        assert!(found.is_some() || number < first, "message {number}");
    }
    assert_eq!(
        vb.message_at(positions[0]).await.unwrap(),
        None,
        "its entry is there, and the message is not"
    );
    assert_eq!(vb.message_at(positions[1]).await.unwrap(), None, "its entry is not there");
    assert!(!vb.thin().await.unwrap(), "nothing is left to do");
}

#[tokio::test(start_paused = true)]
async fn links_stay_as_they_are_where_that_is_wanted() {
    let world = World::new(Limits::default(), 4000);
    let vb = world.founded().await;
    let off = crate::state::Change::Setting { key: "sparseLinkPercent".into(), value: Some("0".into()) };
    change(&vb, &off).unwrap();
    drop(vb);
    let (vb, ..) = filled(&world).await;
    assert!(!vb.thin().await.unwrap());
    let links = world.logs.links(&name("vb-3")).await.unwrap();
    assert!(links.len() > 20 && links.iter().all(|link| link.sparse.is_none()));
}
