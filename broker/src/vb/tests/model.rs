//! Random lives of a virtual broker, compared with what a naive one would keep.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::world::*;
use crate::index::Rows;
use crate::state::{Change, Commit, TopicId};
use crate::vb::{Effect, Limits, Outcome, Record, Vb};

type Queue = (usize, u16);

/// What was acknowledged, and what is on its way.
#[derive(Default)]
struct Model {
    queues: BTreeMap<Queue, BTreeMap<u64, (u64, Vec<u8>)>>,
    commits: BTreeMap<Queue, i64>,
}

struct Life {
    rng: SmallRng,
    world: World,
    vb: Arc<Vb>,
    model: Arc<Mutex<Model>>,
    number: u64,
}

impl Life {
    /// One to four messages, and sometimes a commit with them: all or nothing.
    fn send(&mut self) {
        let mut bodies = Vec::new();
        for _ in 0..self.rng.random_range(1..=4) {
            self.number += 1;
            let mut body = self.number.to_be_bytes().to_vec();
            body.resize(8 + self.rng.random_range(0..200), 0);
            bodies.push(((self.rng.random_range(0..3), self.rng.random_range(0..3)), body));
        }
        let queue = bodies[0].0;
        let commit = self.rng.random_bool(0.3).then(|| (queue, self.rng.random_range(0..1000)));
        let change = commit.map(|((topic, queue), offset)| {
            let topic = TopicId(TOPICS[topic].1);
            Change::Offsets(vec![Commit { group: "g".into(), topic, queue, offset }])
        });
        let messages =
            bodies.iter().map(|((topic, queue), body)| Record::Message(message(*topic, *queue, body, &[])));
        let unit: Vec<Record<'_>> = messages.chain(change.as_ref().map(Record::Change)).collect();
        let mut core = self.vb.core();
        let now = self.vb.now();
        let Ok(staged) = core.stage(&unit, now) else { return };
        let placed: Vec<_> = staged.messages().collect();
        let model = self.model.clone();
        let note = move |outcome| {
            if outcome != Outcome::Acknowledged {
                return;
            }
            let mut model = model.lock();
            for ((queue, body), placed) in bodies.into_iter().zip(placed) {
                let rows = model.queues.entry(queue).or_default();
                let twice = rows.insert(placed.queue_offset, (placed.position, body));
                assert_eq!(twice, None, "an offset was given twice");
            }
            if let Some((queue, offset)) = commit {
                model.commits.insert(queue, offset);
            }
        };
        core.then(Effect::call(note), now);
        drop(core);
        self.vb.drive();
    }

    /// Opens again without a word to the owner, who may have unacknowledged records or be writing a checkpoint.
    async fn steal(&mut self) {
        self.vb = self.world.open().await;
        self.world.logs.release(&name("vb-3"));
        self.world.logs.release(&name("vb-3-checkpoint"));
        self.check().await;
    }

    async fn check(&mut self) {
        settle().await;
        let model = std::mem::take(&mut *self.model.lock());
        for (&(topic, queue), rows) in &model.queues {
            let read = read_queue(&self.vb, topic, queue, 0).await;
            assert_eq!(read.len() as u64, max(&self.vb, TopicId(TOPICS[topic].1), queue));
            for (offset, (position, body)) in rows {
                let message = &read[*offset as usize];
                assert_eq!(message.queue_offset as u64, *offset);
                assert_eq!((message.physical_offset as u64, &message.body[..]), (*position, &body[..]));
                let by_position = self.vb.message_at(*position).await.unwrap();
                assert_eq!(by_position.unwrap().len() as u32, message.size);
            }
            assert!(read.windows(2).all(|pair| pair[0].store_time <= pair[1].store_time));
        }
        for (&(topic, queue), offset) in &model.commits {
            let state = self.vb.core().state().offsets().get("g", TopicId(TOPICS[topic].1), queue);
            // A later one may have been stored without its owner hearing of it.
            assert!(state.is_some(), "{offset} was committed");
        }
        // What was stored though nobody heard of it counts from now on.
        *self.model.lock() = model;
    }

    /// A queue's rows agree with the bytes they lead to.
    async fn look(&mut self) {
        let (topic, queue) = (self.rng.random_range(0..3), self.rng.random_range(0..3));
        let id = TopicId(TOPICS[topic].1);
        let max = max(&self.vb, id, queue);
        if max == 0 {
            return;
        }
        let from = self.rng.random_range(0..max);
        let Rows::Found(rows) = self.vb.rows(id, queue, from, 5, 1000).await.unwrap() else { panic!("rows") };
        for row in rows {
            let mut bytes = self.vb.read(row.position, row.len).await.unwrap();
            let message = protocol::message::stored::Message::take(&mut bytes).unwrap();
            let found = (message.queue_offset as u64, message.physical_offset as u64, message.store_time);
            assert_eq!(found, (row.offset, row.position, row.store_time));
            assert_eq!((message.body.len() as i64, message.queue), (row.tag, i32::from(queue)));
        }
    }

    async fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..60 => self.send(),
            60..75 => settle().await,
            75..82 => self.look().await,
            82..88 => {
                let vb = self.vb.clone();
                tokio::spawn(async move {
                    let _ = vb.checkpoint().await;
                });
            }
            88..91 => self.world.logs.hold(&name("vb-3")),
            91..93 => self.world.logs.hold(&name("vb-3-checkpoint")),
            93..97 => {
                self.world.logs.release(&name("vb-3"));
                self.world.logs.release(&name("vb-3-checkpoint"));
            }
            _ => self.steal().await,
        }
    }
}

async fn live(seed: u64) {
    let limits = Limits {
        tail_bytes: 3000,
        entry_bytes: 700,
        read_bytes: 20_000,
        block_bytes: 5_000,
        ..Limits::default()
    };
    let world = World::new(limits, 4000);
    let vb = world.founded().await;
    let mut life = Life { rng: SmallRng::seed_from_u64(seed), world, vb, model: Arc::default(), number: 0 };
    for _ in 0..400 {
        life.step().await;
    }
    life.steal().await;
    assert!(life.model.lock().queues.len() == 9, "seed {seed} did nothing");
}

#[tokio::test(start_paused = true)]
async fn random_lives_keep_what_was_acknowledged() {
    for seed in 0..60 {
        println!("seed {seed}");
        live(seed).await;
    }
}
