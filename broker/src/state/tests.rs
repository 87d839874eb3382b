use proptest::prelude::*;

use super::*;

fn state() -> State {
    State::new(Settings::default())
}

fn commit(group: &str, topic: u32, queue: u16, offset: i64) -> Change {
    Change::Offsets(vec![Commit { group: group.into(), topic: TopicId(topic), queue, offset }])
}

fn topic(id: u32, name: &str) -> Change {
    Change::Topic(Topic::new(TopicId(id), name, 4, 6))
}

fn half(offset: u64) -> Stored {
    Stored {
        topic: TopicId(0),
        queue: 0,
        queue_offset: offset,
        position: offset * 1_000,
        len: 300,
        store_time: 5,
    }
}

/// Everything that can be seen of a state, as text.
fn seen(state: &State) -> String {
    let offsets: Vec<_> = state
        .offsets
        .groups()
        .map(|group| (group.clone(), state.offsets.of_group(group).collect::<Vec<_>>()))
        .collect();
    let halves: Vec<_> = state.halves.iter().collect();
    format!(
        "{:?}\n{:?}\n{offsets:?}\n{halves:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}{:?}",
        state.by_id,
        state.groups,
        state.overrides,
        state.settings,
        state.delivered,
        state.remembered,
        state.counters,
        (state.half_topic, state.delay_topic)
    )
}

#[test]
fn a_topic_made_again_is_another_one_without_offsets() {
    let mut state = state();
    state.apply(&topic(7, "t"), 1);
    state.apply(&commit("g", 7, 2, 40), 1);
    assert_eq!(state.offsets().get("g", TopicId(7), 2), Some(40));
    assert_eq!(state.offsets().get("g", TopicId(7), 1), None);
    state.apply(&Change::TopicDeleted(TopicId(7)), 2);
    assert!(state.topic("t").is_none() && state.topic_of(TopicId(7)).is_none());
    assert_eq!(state.next_topic(), TopicId(8));
    state.apply(&topic(8, "t"), 3);
    assert_eq!(state.offsets().get("g", TopicId(7), 2), None);
    assert_eq!(state.topics_version(), Version { counter: 3, changed_at: 3 });
}

#[test]
fn a_deleted_group_keeps_its_offsets_unless_they_were_to_go() {
    let mut state = state();
    state.apply(&Change::Group(Group::new("g")), 1);
    state.apply(&commit("g", 1, 0, 3), 1);
    state.apply(&Change::GroupDeleted { group: "g".into(), offsets: false }, 1);
    assert!(state.group("g").is_none());
    assert_eq!(state.offsets().get("g", TopicId(1), 0), Some(3));
    state.apply(&Change::GroupDeleted { group: "g".into(), offsets: true }, 1);
    assert_eq!(state.offsets().get("g", TopicId(1), 0), None);
}

#[test]
fn an_override_goes_back_to_what_was_configured() {
    let configured = Settings { auto_create_topic: false, ..Settings::default() };
    let mut state = State::new(configured);
    let set = |value: Option<&str>| Change::Setting {
        key: "autoCreateTopicEnable".into(),
        value: value.map(Into::into),
    };
    state.apply(&set(Some("true")), 1);
    assert!(state.settings().auto_create_topic);
    state.apply(&set(None), 1);
    assert!(!state.settings().auto_create_topic);
}

#[test]
fn settings_that_name_servers_are_told_of_are_a_new_version_of_the_topics() {
    let mut state = state();
    let set = |key: &str, value: &str| Change::Setting { key: key.into(), value: Some(value.into()) };
    state.apply(&set("maxMessageSize", "1000"), 1);
    assert_eq!(state.topics_version(), Version::default());
    state.apply(&set("brokerPermission", "4"), 2);
    state.apply(&set("brokerPermission", "4"), 3);
    assert_eq!(state.topics_version(), Version { counter: 1, changed_at: 2 });
    state.apply(&set("autoCreateTopicEnable", "false"), 4);
    assert_eq!(state.topics_version(), Version { counter: 2, changed_at: 4 });
    let mut restored = self::state();
    for block in state.dirty() {
        restored.restore(&block.bytes).unwrap();
    }
    assert_eq!(restored.topics_version(), state.topics_version(), "to restore them is none");
}

#[test]
fn half_messages_wait_from_when_they_are_stored_until_they_are_decided() {
    let mut state = state();
    state.apply(&topic(0, topic::HALF), 1);
    state.stored(&half(0));
    state.stored(&half(1));
    state.stored(&Stored { topic: TopicId(9), ..half(2) });
    assert_eq!(state.halves().len(), 2);
    assert_eq!(state.needed_from(TopicId(0), 0), Some(0));
    state.apply(&Change::Checked { half: 1, times: 2, due: 99 }, 1);
    state.apply(&Change::Decided { half: 0 }, 1);
    assert_eq!(state.needed_from(TopicId(0), 0), Some(1));
    assert_eq!(state.halves().get(1).map(|half| (half.checks, half.due)), Some((2, 99)));
}

#[test]
fn a_lock_is_remembered_until_its_holder_gives_it_back() {
    let mut state = state();
    let queues = vec![(TopicId(1), 0), (TopicId(1), 1)];
    let lock =
        |client: &str| Change::Locked { group: "g".into(), client: client.into(), queues: queues.clone() };
    let unlock =
        |client: &str| Change::Unlocked { group: "g".into(), client: client.into(), queues: queues.clone() };
    state.apply(&lock("a"), 1);
    state.apply(&unlock("b"), 1);
    assert_eq!(state.remembered("g").map(|r| r.locks.len()), Some(2));
    state.apply(&unlock("a"), 1);
    assert_eq!(state.remembered("g"), None);
}

#[test]
fn a_checkpoint_writes_only_the_blocks_that_changed() {
    let mut state = state();
    for id in 0..2_000 {
        state.apply(&topic(id, &format!("t{id}")), 1);
    }
    assert!(state.dirty().len() >= 4);
    assert_eq!(state.dirty(), []);
    state.apply(&commit("g", 5, 0, 1), 1);
    let dirty = state.dirty();
    assert_eq!(dirty.len(), 1);
    state.dirty_again(dirty.iter().map(|block| block.key));
    assert_eq!(state.dirty(), dirty);
}

fn any_change() -> impl Strategy<Value = Change> {
    let (id, queue) = (0u32..1_500, 0u16..5);
    let name = || proptest::sample::select(vec!["a", "b", "c", "dd"]).prop_map(Arc::<str>::from);
    prop_oneof![
        (id.clone(), 0u8..8).prop_map(|(id, perm)| {
            let name = if id == 0 { topic::HALF.to_string() } else { format!("t{}", id % 900) };
            Change::Topic(Topic::new(TopicId(id), &name, 4, perm))
        }),
        (1u32..1_500).prop_map(|id| Change::TopicDeleted(TopicId(id))),
        name().prop_map(|group| Change::Group(Group::new(&group))),
        (name(), any::<bool>()).prop_map(|(group, offsets)| Change::GroupDeleted { group, offsets }),
        (name(), id.clone(), queue.clone(), 0i64..100)
            .prop_map(|(group, id, queue, offset)| commit(&group, id, queue, offset)),
        (1u16..5, 0u64..100).prop_map(|(level, next)| Change::Delivered { level, next }),
        (0u64..10_000).prop_map(|half| Change::Decided { half }),
        (0u64..10_000, 0u16..9).prop_map(|(half, times)| Change::Checked { half, times, due: 4 }),
        (0u64..10_000).prop_map(|offset| Change::Half(Half {
            offset,
            position: 1,
            len: 2,
            stored_at: 3,
            checks: 0,
            due: 0
        })),
        (name(), name()).prop_map(|(group, client)| Change::Joined { group, client }),
        (name(), name()).prop_map(|(group, client)| Change::Left { group, client }),
        (name(), name(), id.clone(), queue.clone()).prop_map(|(group, client, id, queue)| Change::Locked {
            group,
            client,
            queues: vec![(TopicId(id), queue)]
        }),
        (name(), name(), id, queue).prop_map(|(group, client, id, queue)| Change::Unlocked {
            group,
            client,
            queues: vec![(TopicId(id), queue)]
        }),
        any::<bool>().prop_map(|on| Change::Setting { key: "traceOn".into(), value: Some(on.to_string()) }),
    ]
}

proptest! {
    /// Checkpoints are taken now and then; whatever happened in between, the last block of each key restores it all.
    #[test]
    fn the_blocks_of_all_checkpoints_restore_the_state(
        changes in proptest::collection::vec((any_change(), 0u8..10), 1..60),
    ) {
        let mut state = state();
        let mut saved = BTreeMap::new();
        for (at, (change, checkpoint)) in changes.iter().enumerate() {
            state.apply(change, at as i64);
            if *checkpoint == 0 {
                saved.extend(state.dirty().into_iter().map(|block| (block.key, block.bytes)));
            }
        }
        saved.extend(state.dirty().into_iter().map(|block| (block.key, block.bytes)));
        for backwards in [false, true] {
            let mut restored = State::new(Settings::default());
            let mut blocks: Vec<_> = saved.values().collect();
            if backwards {
                blocks.reverse();
            }
            for bytes in blocks {
                prop_assert_eq!(restored.restore(bytes), Ok(()));
            }
            prop_assert_eq!(seen(&restored), seen(&state));
        }
    }

    #[test]
    fn fuzz_a_block(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = state().restore(&bytes);
    }
}
