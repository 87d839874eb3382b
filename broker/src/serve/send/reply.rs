//! What a sender is told.

use protocol::message::OffsetId;
use protocol::remoting::Fields;
use protocol::remoting::code::response;
use protocol::remoting::header::SendReply;

use super::Sender;
use crate::serve::answer::Answer;
use crate::vb::{Outcome, Staged};

pub(super) struct Sent {
    /// It is answered as soon as it is on its way.
    pub at_once: bool,
    /// The first of its topic.
    pub made_topic: bool,
    /// The reply's, written when the message is staged: until it is acknowledged nothing else of it is kept.
    fields: Fields,
}

impl Sent {
    pub fn of(sender: &Sender<'_>, staged: &Staged, transaction: Option<&str>) -> Sent {
        let host = sender.served.vb.address;
        let mut ids = String::with_capacity(64);
        for placed in staged.messages() {
            if !ids.is_empty() {
                ids.push(',');
            }
            OffsetId { host, offset: placed.position as i64 }.write(&mut ids);
        }
        let told = SendReply {
            message_id: &ids,
            queue: i32::from(sender.target.queue),
            queue_offset: staged.first().map_or(0, |placed| placed.queue_offset as i64),
            transaction_id: transaction,
            region: Some(sender.region),
            trace_on: sender.trace_on,
        };
        let mut fields = Fields::default();
        told.write(&mut fields);
        Sent { at_once: sender.at_once, made_topic: sender.made_topic, fields }
    }

    pub fn answer(self, answer: Answer, outcome: Outcome) {
        let code = match outcome {
            Outcome::Acknowledged => response::SUCCESS,
            // On its way, and not known to be on disk: whoever sends it again may have it twice.
            Outcome::Slow => response::FLUSH_DISK_TIMEOUT,
            Outcome::Fenced => {
                let remark = "this broker lost the virtual broker while the message was on its way: it may or may not be stored";
                let reply = answer.draft(response::SERVICE_NOT_AVAILABLE).remark(remark);
                return answer.reply(reply);
            }
        };
        let mut reply = answer.draft(code);
        reply.fields = self.fields;
        if code != response::SUCCESS {
            reply = reply.remark("stored, but not yet confirmed by enough bookies");
        }
        answer.reply(reply);
    }
}
