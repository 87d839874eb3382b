//! BK#4812: a bookie that knows nothing of a ledger asks metadata before it takes a normal add.

use metadata::State;
use net::Inbox;
use protocol::bookie::{AddOptions, Refusal};

use super::world::*;
use crate::Error;

#[tokio::test(start_paused = true)]
async fn an_add_to_a_ledger_that_is_closed_is_fenced() -> Result<(), Error> {
    let mut world = World::new().await;
    world.closed_ledger(7, 3).await;
    world.ledger(8, State::InRecovery, &["b1:3181"]).await;
    let bookie = world.start().await?;
    assert_eq!(add(&bookie, 7, 0).await, refused(Refusal::Fenced));
    assert_eq!(add(&bookie, 8, 0).await, refused(Refusal::Fenced));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_add_to_a_ledger_of_others_is_fenced() -> Result<(), Error> {
    let mut world = World::new().await;
    world.ledger(7, State::Open, &["b2:3181", "b3:3181"]).await;
    let bookie = world.start().await?;
    assert_eq!(add(&bookie, 7, 0).await, refused(Refusal::Fenced));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_add_to_a_ledger_that_metadata_does_not_know_is_left_to_gc() -> Result<(), Error> {
    let mut world = World::new().await;
    let bookie = world.start().await?;
    assert_eq!(add(&bookie, 7, 0).await, added());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_repair_brought_does_not_let_the_old_writer_in() -> Result<(), Error> {
    let mut world = World::new().await;
    world.closed_ledger(7, 3).await;
    let bookie = world.start().await?;
    assert_eq!(recovery_add(&bookie, 7, 0).await, added());
    assert_eq!(add(&bookie, 7, 4).await, refused(Refusal::Fenced));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_ledger_is_asked_for_once() -> Result<(), Error> {
    let mut world = World::new().await;
    world.open_ledger(7).await;
    let bookie = world.start().await?;
    let inbox = Inbox::new();
    for entry in 0..10 {
        let add = add_request(7, entry, b"payload", AddOptions::default());
        bookie.handle(add, inbox.expect(entry as u64));
    }
    let mut order = Vec::new();
    while order.len() < 10 {
        for (token, reply) in inbox.take().await {
            assert_eq!(reply, added());
            order.push(token);
        }
    }
    assert_eq!(order, (0..10).collect::<Vec<_>>());
    assert_eq!(bookie.core.metrics.first_adds.get(), 1);
    drop(bookie);
    // What was written here before goes on when metadata says something else: only a fence ends it.
    world.closed_ledger(7, 3).await;
    let bookie = world.start().await?;
    assert_eq!(add(&bookie, 7, 10).await, added());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn without_metadata_a_first_add_is_an_error_and_others_go_on() -> Result<(), Error> {
    let faulty = super::world::Faulty::new().await;
    let mut world = World::over(faulty.clone(), 1).await;
    world.open_ledger(7).await;
    world.open_ledger(8).await;
    let bookie = world.start().await?;
    assert_eq!(add(&bookie, 7, 0).await, added());
    faulty.down(true);
    assert_eq!(add(&bookie, 8, 0).await, refused(Refusal::Io));
    assert_eq!(add(&bookie, 7, 1).await, added());
    faulty.down(false);
    assert_eq!(add(&bookie, 8, 0).await, added());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_fence_that_comes_during_the_question_wins() -> Result<(), Error> {
    let mut world = World::new().await;
    world.open_ledger(7).await;
    let bookie = world.start().await?;
    let inbox = Inbox::new();
    bookie.handle(add_request(7, 0, b"payload", AddOptions::default()), inbox.expect(0));
    let fencing = fence(&bookie, 7).await;
    let add = inbox.take().await.pop_front().map(|(_, reply)| reply);
    // In whichever order they took effect, not both of "nothing is here" and "added".
    let nothing = fencing == refused(Refusal::NoEntry) || fencing == refused(Refusal::NoLedger);
    assert!(!(nothing && add == Some(added())), "{fencing:?} {add:?}");
    Ok(())
}
