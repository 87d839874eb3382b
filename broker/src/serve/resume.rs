//! A transaction that was given up waits for its decision again (323): its message is taken from where it was parked.

use std::sync::Arc;

use protocol::message::stored::Message;
use protocol::message::{OffsetId, sys_flag};
use protocol::remoting::Command;
use protocol::remoting::code::response;

use super::Served;
use super::answer::{Answer, Refusal, refuse};
use super::halves::meant_for;
use super::properties::{self, REAL_QUEUE, REAL_TOPIC, Seen};
use super::pull::unreadable;
use super::put::{Parts, Pieces, Place, record};
use crate::state::topic::CHECKED_OUT;
use crate::vb::{Core, Now};

/// 323
pub(super) fn resume(served: &Arc<Served>, request: &Command, answer: Answer) {
    let position = match read(request) {
        Ok(position) => position,
        Err(refusal) => return answer.refuse(refusal),
    };
    let served = served.clone();
    tokio::spawn(async move {
        let message = match served.vb.message_at(position).await {
            Ok(bytes) => bytes.and_then(|mut bytes| Message::take(&mut bytes).ok()),
            Err(error) => return answer.refuse(unreadable(&error)),
        };
        match message.filter(|message| &*message.topic == CHECKED_OUT) {
            Some(message) => store(&served, &message, answer),
            None => {
                let remark = format!("there is no message of {CHECKED_OUT} at {position}");
                answer.refuse(Refusal { code: response::SYSTEM_ERROR, remark });
            }
        }
        served.vb.drive();
    });
}

fn read(request: &Command) -> Result<u64, Refusal> {
    match request.fields.text("msgId")?.parse::<OffsetId>() {
        Ok(id) => Ok(u64::try_from(id.offset).unwrap_or(u64::MAX)),
        Err(wrong) => refuse(response::SYSTEM_ERROR, wrong.to_string()),
    }
}

fn store(served: &Arc<Served>, message: &Message, answer: Answer) {
    let now = served.vb.now();
    let mut core = served.vb.core();
    match stage(served, &mut core, message, now) {
        Ok(()) => core.then(answer.done_once_stored(), now),
        Err(refusal) => answer.refuse(refusal),
    }
}

/// As a half message that is new, for the queue that it was for at first.
fn stage(served: &Served, core: &mut Core, message: &Message, now: Now) -> Result<(), Refusal> {
    let text = String::from_utf8_lossy(&message.properties).into_owned();
    let (topic, queue) = meant_for(core, &text)?;
    let place = Place::half(core, &topic, queue)?;
    let properties = properties::rewrite(&text, &[REAL_TOPIC, REAL_QUEUE], &[]);
    let parts = Parts {
        sys_flag: message.sys_flag & !sys_flag::TRANSACTION,
        prepared_offset: 0,
        ..Parts::again(message, &properties, &[])
    };
    let pieces = Pieces::of(&place, &parts);
    let staged = core.stage(&[record(&place, &parts, &pieces)], now)?;
    if let Some(placed) = staged.first() {
        let immunity = Seen::of(&text).immunity;
        let due = served.halves.first_check(core.state().settings(), staged.store_time, immunity);
        served.halves.wait(placed.queue_offset, due);
    }
    Ok(())
}
