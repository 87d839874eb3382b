//! Which queues are whose: evenly, in order, as RocketMQ's "averagely". All members compute the same from the same.

use crate::Queue;

/// The share of `me` among `members`, both of which are sorted here. Nothing for one who is no member.
pub(super) fn averagely(me: &str, mut members: Vec<String>, mut queues: Vec<Queue>) -> Vec<Queue> {
    members.sort();
    members.dedup();
    queues.sort();
    let Some(index) = members.iter().position(|member| member == me) else { return Vec::new() };
    let (each, more) = (queues.len() / members.len(), queues.len() % members.len());
    let start = index * each + index.min(more);
    let count = each + usize::from(index < more);
    queues.into_iter().skip(start).take(count).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn queues(count: i32) -> Vec<Queue> {
        (0..count).rev().map(|id| Queue { topic: "t".into(), broker: "b".into(), id }).collect()
    }

    fn share(me: &str, members: &[&str], count: i32) -> Vec<i32> {
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        averagely(me, members, queues(count)).iter().map(|queue| queue.id).collect()
    }

    #[test]
    fn shares_are_those_of_the_java_client() {
        assert_eq!(share("a", &["b", "a"], 5), [0, 1, 2]);
        assert_eq!(share("b", &["b", "a", "b"], 5), [3, 4]);
        assert!(share("c", &["a", "b", "c"], 2).is_empty());
        assert!(share("x", &["a"], 2).is_empty());
    }

    proptest! {
        #[test]
        fn every_queue_has_one_owner(members in 1usize..9, count in 0i32..40) {
            let names: Vec<String> = (0..members).map(|member| member.to_string()).collect();
            let mut all: Vec<Queue> =
                names.iter().flat_map(|me| averagely(me, names.clone(), queues(count))).collect();
            all.sort();
            let mut wanted = queues(count);
            wanted.sort();
            prop_assert_eq!(all, wanted);
        }
    }
}
