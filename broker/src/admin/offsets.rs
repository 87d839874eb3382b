//! All offsets at once: of consumers (43), of delay levels (45).

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::body::offset::AllOffsets;
use protocol::body::topic::DataVersion;

use super::{body, with_commits};
use crate::serve::Served;
use crate::serve::answer::Answer;

fn version(served: &Served) -> DataVersion {
    DataVersion { state_version: served.vb.epoch() as i64, counter: 0, timestamp: served.vb.now().wall }
}

/// 43
pub(super) fn consumers(served: &Arc<Served>, answer: Answer) {
    with_commits(served, answer, |served, answer| {
        let mut table: BTreeMap<String, BTreeMap<i32, i64>> = BTreeMap::new();
        let core = served.vb.core();
        let state = core.state();
        for group in state.offsets().groups() {
            for (topic, queue, offset) in state.offsets().of_group(group) {
                let Some(topic) = state.topic_of(topic) else { continue };
                let row = table.entry(format!("{}@{group}", topic.name)).or_default();
                row.insert(i32::from(queue), offset);
            }
        }
        drop(core);
        let reply = body(&answer, &AllOffsets { data_version: version(served), offset_table: table });
        answer.reply(reply);
    });
}

/// 45
pub(super) fn delays(served: &Arc<Served>, answer: Answer) {
    let levels: BTreeMap<i32, i64> = {
        let core = served.vb.core();
        let state = core.state();
        (1..=state.settings().delay_levels.count())
            .map(|level| (i32::from(level), state.delivered(level) as i64))
            .filter(|(_, offset)| *offset > 0)
            .collect()
    };
    let table = serde_json::json!({ "dataVersion": version(served), "offsetTable": levels });
    let reply = body(&answer, &table);
    answer.reply(reply);
}
