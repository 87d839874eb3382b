//! Where the members of a group are in a topic, as they say themselves (223, by asking each of them with 221).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use net::remoting::Connection;
use protocol::body::json;
use protocol::body::offset::{ClientOffsets, GroupOffsets};
use protocol::remoting::Command;
use protocol::remoting::code::{request as code, response};
use tokio::task::JoinSet;

use super::keyed;
use crate::serve::Served;
use crate::serve::answer::{Answer, Refusal, refuse};

/// How long a client may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// 223
pub(super) fn of_members(served: &Arc<Served>, request: &Command, answer: Answer) {
    let (clients, question) = match read(served, request) {
        Ok(read) => read,
        Err(refusal) => return answer.refuse(refusal),
    };
    tokio::spawn(async move {
        let mut asked = JoinSet::new();
        for (client, connection) in clients {
            let question = question.clone();
            asked.spawn(async move { (client, connection.ask(question, PATIENCE).await) });
        }
        let mut told = GroupOffsets::default();
        while let Some(said) = asked.join_next().await {
            // Who does not know the question, or says nothing, is left out.
            let Ok((client, Ok(said))) = said else { continue };
            if said.code != response::SUCCESS {
                tracing::info!(%client, code = said.code, remark = ?said.remark, "a consumer does not say where it is");
                continue;
            }
            match json::read::<ClientOffsets>(&said.body) {
                Ok(offsets) => {
                    drop(told.consumer_table.insert(client.to_string(), offsets.message_queue_table))
                }
                Err(malformed) => return answer.refuse(malformed.into()),
            }
        }
        let reply = keyed(&answer, &told);
        answer.reply(reply);
    });
}

type Clients = BTreeMap<Arc<str>, Arc<Connection>>;

/// Whom to ask, and what.
fn read(served: &Served, request: &Command) -> Result<(Clients, Command), Refusal> {
    let fields = &request.fields;
    let (topic, group) = (fields.text("topic")?, fields.text("group")?);
    let only = fields.get("clientAddr").filter(|client| !client.is_empty());
    let members = served.members.lock();
    let all = members.consumers(group).into_iter().flat_map(|group| group.members.values());
    let wanted = all.filter(|member| only.is_none_or(|only| &*member.client == only));
    let clients: Clients = wanted.map(|member| (member.client.clone(), member.handle.clone())).collect();
    if clients.is_empty() {
        let remark = format!("No Any Consumer online in the consumer group: [{group}]");
        return refuse(response::SYSTEM_ERROR, remark);
    }
    let question = Command::request(code::GET_CONSUMER_STATUS_FROM_CLIENT);
    Ok((clients, question.with("topic", topic).with("group", group)))
}
