use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::world::*;
use crate::index::Rows;
use crate::state::{Change, TopicId};
use crate::vb::core::Released;
use crate::vb::{Core, Effect, Limits, Outcome, Record, Refused};

type Fired = Arc<Mutex<Vec<(u32, Outcome)>>>;

fn effect(fired: &Fired, number: u32) -> Effect {
    let fired = fired.clone();
    Effect::call(move |outcome| fired.lock().push((number, outcome)))
}

const T: TopicId = TopicId(1);

fn rows(core: &Core, from: u64) -> Rows {
    core.rows(T, 0, from, 100, 1 << 20)
}

#[tokio::test(start_paused = true)]
async fn a_message_shows_once_it_is_acknowledged_and_its_effect_fires_then() {
    let world = World::new(Limits::default(), 1 << 30);
    let vb = world.founded().await;
    world.logs.hold(&name("vb-3"));
    let fired = Fired::default();
    let staged = send(&vb, 0, 0, b"hello").unwrap();
    vb.core().then(effect(&fired, 1), vb.now());
    settle().await;
    assert_eq!(rows(&vb.core(), 0), Rows::End);
    assert_eq!(max(&vb, T, 0), 0);
    assert!(fired.lock().is_empty());
    world.logs.release(&name("vb-3"));
    settle().await;
    assert_eq!(*fired.lock(), [(1, Outcome::Acknowledged)]);
    assert_eq!(*world.noted.visible.lock(), [(T, 0)]);
    let Rows::Found(found) = rows(&vb.core(), 0) else { panic!("a row") };
    assert_eq!(found[0].position, staged.first().unwrap().position);
    let read = read_queue(&vb, 0, 0, 0).await;
    assert_eq!((read[0].body.as_ref(), read[0].queue_offset), (&b"hello"[..], 0));
    assert_eq!(read[0].physical_offset as u64, staged.first().unwrap().position);
    assert_eq!(read[0].store_host, vb.address);
    assert_eq!(read[0].store_time, staged.store_time);
}

#[tokio::test(start_paused = true)]
async fn effects_fire_in_the_order_in_which_they_were_staged() {
    let world = World::new(Limits::default(), 1 << 30);
    let vb = world.founded().await;
    let fired = Fired::default();
    for number in 0..50 {
        send(&vb, 0, (number % 3) as u16, b"x").unwrap();
        vb.core().then_soon(effect(&fired, number), vb.now());
    }
    vb.drive();
    settle().await;
    let expected: Vec<_> = (0..50).map(|number| (number, Outcome::Acknowledged)).collect();
    assert_eq!(*fired.lock(), expected);
}

#[tokio::test(start_paused = true)]
async fn what_arrives_while_an_entry_is_on_its_way_travels_together() {
    let world = World::new(Limits::default(), 1 << 30);
    let vb = world.founded().await;
    world.logs.hold(&name("vb-3"));
    let positions: Vec<u64> =
        (0..100).map(|_| send(&vb, 0, 0, b"x").unwrap().first().unwrap().position).collect();
    world.logs.release(&name("vb-3"));
    settle().await;
    settle().await;
    let bases: std::collections::BTreeSet<u64> =
        positions.iter().map(|position| vb.core().entry(*position).unwrap().0).collect();
    assert_eq!(bases.len(), 2, "one on its way, and one of all others");
}

#[tokio::test(start_paused = true)]
async fn a_sender_who_waits_too_long_is_told_once() {
    let world = World::new(Limits::default(), 1 << 30);
    let vb = world.founded().await;
    world.logs.hold(&name("vb-3"));
    let fired = Fired::default();
    send(&vb, 0, 0, b"x").unwrap();
    {
        let mut core = vb.core();
        core.then_soon(effect(&fired, 1), vb.now());
        core.then(effect(&fired, 2), vb.now());
    }
    tokio::time::sleep(Duration::from_millis(2400)).await;
    assert!(fired.lock().is_empty());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(*fired.lock(), [(1, Outcome::Slow)]);
    world.logs.release(&name("vb-3"));
    settle().await;
    assert_eq!(*fired.lock(), [(1, Outcome::Slow), (2, Outcome::Acknowledged)]);
    assert_eq!(max(&vb, T, 0), 1, "it was stored after all");
}

#[tokio::test(start_paused = true)]
async fn how_long_a_sender_waits_is_a_setting() {
    let world = World::new(Limits::default(), 1 << 30);
    let vb = world.founded().await;
    let longer = Change::Setting { key: "syncFlushTimeout".into(), value: Some("9000".into()) };
    change(&vb, &longer).unwrap();
    settle().await;
    world.logs.hold(&name("vb-3"));
    let fired = Fired::default();
    send(&vb, 0, 0, b"x").unwrap();
    vb.core().then_soon(effect(&fired, 1), vb.now());
    tokio::time::sleep(Duration::from_millis(8900)).await;
    assert!(fired.lock().is_empty());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(*fired.lock(), [(1, Outcome::Slow)]);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_is_told_when_the_log_ends_and_nothing_more_is_taken() {
    let world = World::new(Limits::default(), 1 << 30);
    let vb = world.founded().await;
    world.logs.hold(&name("vb-3"));
    let fired = Fired::default();
    send(&vb, 0, 0, b"x").unwrap();
    vb.core().then_soon(effect(&fired, 1), vb.now());
    let next = world.open().await;
    settle().await;
    assert_eq!(*fired.lock(), [(1, Outcome::Fenced)]);
    assert!(*world.noted.ended.lock());
    assert_eq!(send(&vb, 0, 0, b"y"), Err(Refused::Fenced));
    assert_eq!(max(&next, T, 0), 0);
    assert_eq!(next.epoch(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_found_no_room_is_tried_again_when_nobody_else_will() {
    let world = World::new(Limits { entry_bytes: 4096, ..Limits::default() }, 1 << 30);
    let vb = world.founded().await;
    world.logs.hold(&name("vb-3"));
    send(&vb, 0, 0, b"on its way").unwrap();
    {
        let mut core = vb.core();
        let first = core.staged();
        core.stage(&[Record::Message(message(0, 0, &[7; 4096], &[]))], vb.now()).unwrap();
        assert!(core.take(vb.now()).is_some());
        assert!(!core.not_appended(), "an acknowledgement is to come");
        assert!(core.take(vb.now()).is_some());
        core.advance(first, &mut Released::default());
        assert!(core.not_appended(), "the last one came meanwhile");
    }
    vb.drive();
    world.logs.release(&name("vb-3"));
    settle().await;
    assert_eq!(max(&vb, T, 0), 2);
}

#[tokio::test(start_paused = true)]
async fn messages_are_refused_under_pressure_while_changes_still_fit() {
    let limits = Limits { unacknowledged: 4096, reserve: 4096, ..Limits::default() };
    let world = World::new(limits, 1 << 30);
    let vb = world.founded().await;
    world.logs.hold(&name("vb-3"));
    let refused = loop {
        if let Err(refused) = send(&vb, 0, 0, &[7; 500]) {
            break refused;
        }
    };
    assert!(matches!(refused, Refused::Busy { .. }), "{refused:?}");
    assert!(vb.core().refusal(500, vb.now()).is_some());
    vb.core().stage(&[Record::Mark], vb.now()).unwrap();
    world.logs.release(&name("vb-3"));
    settle().await;
    settle().await;
    send(&vb, 0, 0, &[7; 500]).unwrap();
}

#[tokio::test(start_paused = true)]
async fn messages_are_refused_when_the_oldest_waits_for_too_long() {
    let world = World::new(Limits::default(), 1 << 30);
    let vb = world.founded().await;
    world.logs.hold(&name("vb-3"));
    send(&vb, 0, 0, b"x").unwrap();
    tokio::time::sleep(Duration::from_millis(2400)).await;
    assert!(send(&vb, 0, 0, b"y").is_ok(), "a disk that stands still for a moment is no error");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(send(&vb, 0, 0, b"z"), Err(Refused::Busy { wait: Duration::from_millis(2600) }));
}

#[tokio::test(start_paused = true)]
async fn a_unit_of_several_records_is_in_one_entry() {
    let limits = Limits { entry_bytes: 2000, ..Limits::default() };
    let world = World::new(limits, 1 << 30);
    let vb = world.founded().await;
    world.logs.hold(&name("vb-3"));
    for _ in 0..20 {
        let body = [1; 400];
        let unit = [0, 1, 2].map(|queue| Record::Message(message(0, queue, &body, &[])));
        let staged = vb.core().stage(&unit, vb.now()).unwrap();
        assert_eq!(staged.messages().count(), 3);
        vb.drive();
    }
    world.logs.release(&name("vb-3"));
    settle().await;
    settle().await;
    for offset in 0..20 {
        let bases: Vec<u64> = [0, 1, 2]
            .map(|queue| {
                let Rows::Found(rows) = vb.core().rows(T, queue, offset, 1, 1) else { panic!("a row") };
                vb.core().entry(rows[0].position).unwrap().0
            })
            .to_vec();
        assert!(bases.windows(2).all(|pair| pair[0] == pair[1]), "{bases:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_entry_does_not_wait_for_the_one_before() {
    let world = World::new(Limits { entry_bytes: 20_000, ..Limits::default() }, 1 << 30);
    let vb = world.founded().await;
    world.logs.hold(&name("vb-3"));
    let positions =
        [10, 100, 11_000, 10].map(|len| send(&vb, 0, 0, &vec![0; len]).unwrap().first().unwrap().position);
    world.logs.release(&name("vb-3"));
    settle().await;
    let [first, second, third, last] = positions.map(|position| vb.core().entry(position).unwrap().0);
    assert!(first < second && second == third && third < last, "{first} {second} {third} {last}");
}

#[tokio::test(start_paused = true)]
async fn what_can_never_fit_is_refused_and_takes_no_offset() {
    let world = World::new(Limits::default(), 1 << 30);
    let vb = world.founded().await;
    assert!(matches!(send(&vb, 0, 0, &vec![0; 6 << 20]), Err(Refused::TooLarge { .. })));
    let long = vec![b'x'; 70_000];
    let pieces = [&long[..]];
    let wrong = crate::vb::NewMessage { properties: &pieces, ..message(0, 0, b"", &[]) };
    let refused = vb.core().stage(&[Record::Message(wrong)], vb.now());
    assert!(matches!(refused, Err(Refused::Invalid(_))), "{refused:?}");
    assert_eq!(send(&vb, 0, 0, b"x").unwrap().first().unwrap().queue_offset, 0);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "that its own thread has locked already")]
async fn a_core_that_is_locked_twice_by_one_thread_is_found_at_once() {
    let vb = World::new(Limits::default(), 1 << 30).founded().await;
    let _ = vb.core().max_offset(T, vb.core().state().topics().count() as u16);
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_wait_for_each_other_at_the_core() {
    let vb = World::new(Limits::default(), 1 << 30).founded().await;
    let send_many =
        |vb: Arc<crate::vb::Vb>| move || (0..1000).for_each(|_| drop(send(&vb, 0, 0, b"x").unwrap()));
    let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(send_many(vb.clone()))).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(vb.core().index().queue(T, 0).map(|queue| queue.end()), Some(4000));
}
