//! Why a pull is refused; if it is forbidden, clients are told by what.

use protocol::remoting::code::response;

use crate::serve::answer::{Answer, Refusal};

/// What forbids a pull, in RocketMQ's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Broker = 1,
    Group = 2,
    Topic = 3,
    Broadcast = 4,
}

pub(super) struct Denied {
    refusal: Refusal,
    by: Option<By>,
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Denied {
        Denied { refusal, by: None }
    }
}

pub(super) fn forbid<T>(by: By, remark: String) -> Result<T, Denied> {
    Err(Denied { refusal: Refusal { code: response::NO_PERMISSION, remark }, by: Some(by) })
}

impl Denied {
    pub fn tell(self, answer: Answer) {
        let Denied { refusal: Refusal { code, remark }, by } = self;
        let reply = answer.draft(code).remark(remark);
        answer.reply(match by {
            Some(by) => reply.with("forbiddenType", by as i32),
            None => reply,
        });
    }
}
