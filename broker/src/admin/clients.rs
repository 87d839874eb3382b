//! Questions to a consumer, passed on: what it is doing (307), and what it makes of one message (309).

use std::sync::Arc;
use std::time::Duration;

use net::remoting::Connection;
use protocol::message::id::OffsetId;
use protocol::remoting::Command;
use protocol::remoting::code::response;

use crate::serve::Served;
use crate::serve::answer::{Answer, Refusal, refuse};
use crate::serve::pull::unreadable;

/// How long a client may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// 307
pub(super) fn running_info(served: &Arc<Served>, request: &Command, answer: Answer) {
    let asked = copied(request);
    match find(served, request) {
        Ok(client) => drop(tokio::spawn(pass_on(client, asked, answer))),
        Err(refusal) => answer.refuse(refusal),
    }
}

/// 309
pub(super) fn consume(served: &Arc<Served>, request: &Command, answer: Answer) {
    let found = find(served, request).and_then(|client| {
        let text = request.fields.text("msgId")?;
        match text.parse::<OffsetId>() {
            Ok(id) => Ok((client, id)),
            Err(wrong) => refuse(response::SYSTEM_ERROR, wrong.to_string()),
        }
    });
    let (client, id) = match found {
        Ok(found) => found,
        Err(refusal) => return answer.refuse(refusal),
    };
    let mut asked = copied(request);
    if request.fields.get("brokerName").is_none_or(str::is_empty) {
        asked = asked.with("brokerName", &served.vb.name);
    }
    let served = served.clone();
    tokio::spawn(async move {
        let position = u64::try_from(id.offset).unwrap_or(u64::MAX);
        match served.vb.message_at(position).await {
            Ok(Some(message)) => pass_on(client, asked.body(message), answer).await,
            Ok(None) => {
                let remark = format!("there is no message at {position}");
                answer.give(refuse(response::SYSTEM_ERROR, remark));
            }
            Err(error) => answer.refuse(unreadable(&error)),
        }
    });
}

/// The same request, for a client.
fn copied(request: &Command) -> Command {
    let fields = request.fields.iter();
    fields.fold(Command::request(request.code), |copy, (name, value)| copy.with(name, value))
}

fn find(served: &Served, request: &Command) -> Result<Arc<Connection>, Refusal> {
    let group = request.fields.text("consumerGroup")?;
    let client = request.fields.text("clientId")?;
    let members = served.members.lock();
    let found = members
        .consumers(group)
        .and_then(|group| group.members.values().find(|member| &*member.client == client))
        .map(|member| member.handle.clone());
    match found {
        Some(handle) => Ok(handle),
        None => refuse(response::SYSTEM_ERROR, format!("The Consumer <{group}> <{client}> not online")),
    }
}

async fn pass_on(client: Arc<Connection>, request: Command, answer: Answer) {
    match client.ask(request, PATIENCE).await {
        Ok(said) => {
            let mut reply = answer.draft(said.code).body(said.body);
            for (name, value) in said.fields.iter() {
                reply = reply.with(name, value);
            }
            if let Some(remark) = said.remark {
                reply = reply.remark(remark);
            }
            answer.reply(reply);
        }
        Err(unanswered) => {
            let remark = format!("the consumer at {} did not answer: {unanswered}", client.peer());
            answer.refuse(Refusal { code: response::CONSUME_MSG_TIMEOUT, remark });
        }
    }
}
