//! Gives a group the offsets of another (314).

use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::remoting::Command;
use protocol::remoting::code::response;

use super::subscriptions::committed_topics;
use super::{when_settled, with_commits};
use crate::serve::Served;
use crate::serve::answer::{Answer, Refusal};
use crate::state::Commit;
use crate::state::topic::RETRY_PREFIX;

/// 314
pub(super) fn clone(served: &Arc<Served>, request: &Command, answer: Answer) {
    let fields = &request.fields;
    let read = || -> Result<(String, String, Option<String>), Refusal> {
        let topic = fields.get("topic").filter(|topic| !topic.is_empty()).map(str::to_owned);
        Ok((fields.text("srcGroup")?.into(), fields.text("destGroup")?.into(), topic))
    };
    let (from, to, topic) = match read() {
        Ok(read) => read,
        Err(refusal) => return answer.refuse(refusal),
    };
    with_commits(served, answer, move |served, answer| {
        let topics = topic.map_or_else(|| committed_topics(served, &from), |topic| BTreeSet::from([topic]));
        let to: Arc<str> = to.into();
        let commits: Vec<Commit> = {
            let core = served.vb.core();
            let state = core.state();
            // The retry topic is the group's own.
            let cloned = |id| {
                state.topic_of(id).is_some_and(|topic| {
                    topics.contains(&*topic.name) && !topic.name.starts_with(RETRY_PREFIX)
                })
            };
            let offsets = state.offsets().of_group(&from).filter(|(id, ..)| cloned(*id));
            offsets.map(|(topic, queue, offset)| Commit { group: to.clone(), topic, queue, offset }).collect()
        };
        let now = served.vb.now();
        let mut waiting = served.commits.lock();
        let mut core = served.vb.core();
        match waiting.hand_over(&mut core, &commits, now) {
            Ok(()) => {
                let reply = answer.draft(response::SUCCESS);
                when_settled(core, now, answer, reply);
            }
            Err(refused) => answer.refuse(refused.into()),
        }
        drop(waiting);
        served.vb.drive();
    });
}
