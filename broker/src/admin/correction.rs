//! Where a group that joins others in a topic may go on (308): how far the slowest of them has come.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::body::offset::CorrectionOffsets;
use protocol::remoting::Command;

use super::{body, topic_of, with_commits};
use crate::serve::Served;
use crate::serve::answer::{Answer, Refusal};

/// By queue.
type Row = BTreeMap<i32, i64>;

/// 308
pub(super) fn offsets(served: &Arc<Served>, request: &Command, answer: Answer) {
    let fields = &request.fields;
    let read = || -> Result<(String, String, Vec<String>), Refusal> {
        let left_out = fields.get("filterGroups").unwrap_or_default();
        let left_out = left_out.split(',').filter(|group| !group.is_empty()).map(str::to_owned).collect();
        Ok((fields.text("topic")?.into(), fields.text("compareGroup")?.into(), left_out))
    };
    let (topic, compared, left_out) = match read() {
        Ok(read) => read,
        Err(refusal) => return answer.refuse(refusal),
    };
    with_commits(served, answer, move |served, answer| {
        let core = served.vb.core();
        let topic = match topic_of(&core, &topic) {
            Ok(topic) => topic.id,
            Err(refusal) => return answer.refuse(refusal),
        };
        let offsets = core.state().offsets();
        let of = |group: &str| {
            let all = offsets.of_group(group).filter(|(id, ..)| *id == topic);
            // What is gone holds nobody up.
            let there = all.filter(|(_, queue, offset)| *offset >= core.min_offset(topic, *queue) as i64);
            there.map(|(_, queue, offset)| (i32::from(queue), offset)).collect::<Row>()
        };
        let others = offsets.groups().filter(|group| !left_out.contains(&group.to_string()));
        let told = CorrectionOffsets {
            correction_offsets: corrected(others.map(|group| of(group)), &of(&compared)),
        };
        drop(core);
        let reply = body(&answer, &told);
        answer.reply(reply);
    });
}

/// The least of each queue; where the compared group is behind it, it needs no correction.
fn corrected(groups: impl Iterator<Item = Row>, compared: &Row) -> Row {
    let mut least = Row::new();
    for (queue, offset) in groups.flatten() {
        least.entry(queue).and_modify(|least| *least = offset.min(*least)).or_insert(offset);
    }
    for (queue, offset) in compared {
        if let Some(least) = least.get_mut(queue).filter(|least| **least > *offset) {
            *least = i64::MAX;
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_group_counts_unless_the_compared_one_is_behind_it() {
        let groups = [Row::from([(0, 5), (1, 9)]), Row::from([(0, 7), (1, 8)])];
        let compared = Row::from([(0, 6), (1, 7), (2, 1)]);
        assert_eq!(corrected(groups.into_iter(), &compared), Row::from([(0, 5), (1, i64::MAX)]));
    }
}
