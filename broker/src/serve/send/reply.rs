//! What a sender is told.

use std::net::SocketAddr;

use protocol::message::OffsetId;
use protocol::remoting::code::response;
use protocol::remoting::header::SendReply;

use super::Sender;
use crate::serve::answer::Answer;
use crate::vb::{Outcome, Staged};

pub(super) struct Sent {
    /// It is answered as soon as it is on its way.
    pub at_once: bool,
    staged: Staged,
    host: SocketAddr,
    queue: u16,
    transaction: Option<String>,
    region: String,
    trace_on: bool,
}

impl Sent {
    pub fn of(sender: &Sender<'_>, staged: Staged, transaction: Option<String>) -> Sent {
        Sent {
            at_once: sender.at_once,
            staged,
            host: sender.served.vb.address,
            queue: sender.target.queue,
            transaction,
            region: String::new(),
            trace_on: sender.trace_on,
        }
    }

    pub fn in_region(self, region: String) -> Sent {
        Sent { region, ..self }
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
        let mut ids = String::with_capacity(64);
        for placed in self.staged.messages() {
            if !ids.is_empty() {
                ids.push(',');
            }
            OffsetId { host: self.host, offset: placed.position as i64 }.write(&mut ids);
        }
        let mut reply = answer.draft(code);
        let told = SendReply {
            message_id: &ids,
            queue: i32::from(self.queue),
            queue_offset: self.staged.first().map_or(0, |placed| placed.queue_offset as i64),
            transaction_id: self.transaction.as_deref(),
            region: Some(&self.region),
            trace_on: self.trace_on,
        };
        told.write(&mut reply.fields);
        if code != response::SUCCESS {
            reply = reply.remark("stored, but not yet confirmed by enough bookies");
        }
        answer.reply(reply);
    }
}
