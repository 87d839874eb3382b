//! The way in: admission, one dispatch, and the end of a connection.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use net::remoting::{Connection, Handler};
use protocol::remoting::Command;
use protocol::remoting::code::request::{self as code, name as code_name};
use protocol::remoting::code::response;

use super::answer::{Answer, Refusal, refuse};
use super::{Served, halves, heartbeat, locks, offsets, pull, resume, send, send_back, view};
use crate::admin;
use crate::vb::{Effect, Outcome, Record};

/// Old clients, and the dashboard, send to the port that is so much lower; but heartbeats to the other.
pub(crate) const VIP: u16 = 2;

pub(super) struct Door {
    served: Arc<Served>,
}

impl Door {
    pub fn new(served: Arc<Served>) -> Door {
        Door { served }
    }
}

impl Handler for Door {
    fn request(&self, from: &Arc<Connection>, request: Command) {
        let answer = Answer::new(from, &request, &self.served.owed);
        match admit(&self.served, from, &request) {
            Ok(()) => enter(&self.served, request, answer),
            Err(refusal) => answer.refuse(refusal),
        }
    }

    fn drained(&self, _from: &Arc<Connection>) {
        self.served.vb.drive();
    }

    fn closed(&self, connection: &Arc<Connection>) {
        let served = &self.served;
        served.held.lock().gone(connection.id());
        heartbeat::part(served, served.vb.now(), |members| members.closed(connection.id()));
        served.vb.drive();
    }
}

/// Requests of one virtual broker that have no answer yet, held pulls among them.
const MOST_OWED: usize = 600_000;

/// Whether a request may go on; fields and body are as they came. Access control belongs here.
fn admit(served: &Served, _from: &Arc<Connection>, _request: &Command) -> Result<(), Refusal> {
    if served.owed.load(Ordering::Relaxed) > MOST_OWED {
        let remark = format!("{MOST_OWED} requests wait for their answers already: try again later");
        return refuse(response::SYSTEM_BUSY, remark);
    }
    Ok(())
}

/// Dispatches a request, once it is certain that the virtual broker is ours if its answer depends on that. An owner
/// that was paused must not answer from the past: without a fresh sign it appends an empty record first.
fn enter(served: &Arc<Served>, request: Command, answer: Answer) {
    if !answers_from_state(request.code) {
        return dispatch(served, &request, answer);
    }
    let now = served.vb.now();
    let mut core = served.vb.core();
    if served.certain(&core, now) && !core.ended() {
        drop(core);
        return dispatch(served, &request, answer);
    }
    if let Err(refused) = core.stage(&[Record::Mark], now) {
        drop(core);
        return lost(served, &request, answer, refused.into());
    }
    let (again, answer) = (served.clone(), answer.with(&request));
    core.then(
        Effect::call(move |outcome| match outcome {
            Outcome::Fenced => lost(&again, &request, answer, offsets::moved()),
            _ => {
                dispatch(&again, &request, answer.alone());
                again.vb.drive();
            }
        }),
        now,
    );
}

/// The virtual broker is another's, or nobody's. A pull is answered as if nothing were new: its client asks again.
fn lost(served: &Served, request: &Command, answer: Answer, refusal: Refusal) {
    match request.code {
        code::PULL_MESSAGE | code::LITE_PULL_MESSAGE if served.vb.core().ended() => {
            pull::moved(request, answer)
        }
        _ => answer.refuse(refusal),
    }
}

fn answers_from_state(code: i32) -> bool {
    !matches!(
        code,
        // These are records themselves, or concern the connection only.
        code::SEND_MESSAGE
            | code::SEND_MESSAGE_V2
            | code::SEND_BATCH_MESSAGE
            | code::CONSUMER_SEND_MSG_BACK
            | code::END_TRANSACTION
            | code::UPDATE_CONSUMER_OFFSET
            | code::HEART_BEAT
            | code::UNREGISTER_CLIENT
            | code::CHECK_CLIENT_CONFIG
    )
}

fn dispatch(served: &Arc<Served>, request: &Command, answer: Answer) {
    match request.code {
        code::SEND_MESSAGE | code::SEND_MESSAGE_V2 | code::SEND_BATCH_MESSAGE => {
            send::send(served, request, answer)
        }
        code::PULL_MESSAGE | code::LITE_PULL_MESSAGE => pull::pull(served, request, answer),
        code::QUERY_MESSAGE => view::by_key(served, request, answer),
        code::VIEW_MESSAGE_BY_ID => view::by_position(served, request, answer),
        code::QUERY_CONSUMER_OFFSET => offsets::query(served, request, answer),
        code::UPDATE_CONSUMER_OFFSET => offsets::update(served, request, answer),
        code::SEARCH_OFFSET_BY_TIMESTAMP => offsets::by_time(served, request, answer),
        code::GET_MAX_OFFSET => offsets::bounds(served, request, answer, true),
        code::GET_MIN_OFFSET => offsets::bounds(served, request, answer, false),
        code::GET_EARLIEST_MSG_STORETIME => offsets::earliest(served, request, answer),
        code::HEART_BEAT => heartbeat::heard(served, request, answer),
        code::UNREGISTER_CLIENT => heartbeat::left(served, request, answer),
        code::GET_CONSUMER_LIST_BY_GROUP => heartbeat::list(served, request, answer),
        code::CHECK_CLIENT_CONFIG => heartbeat::check_client(request, answer),
        code::LOCK_BATCH_MQ => locks::lock(served, request, answer),
        code::UNLOCK_BATCH_MQ => locks::unlock(served, request, answer),
        code::CONSUMER_SEND_MSG_BACK => send_back::send_back(served, request, answer),
        code::END_TRANSACTION => halves::end(served, request, answer),
        code::RESUME_CHECK_HALF_MESSAGE => resume::resume(served, request, answer),
        other => {
            if let Some(answer) = admin::dispatch(served, request, answer) {
                answer.refuse(unsupported(other));
            }
        }
    }
}

pub(crate) fn unsupported(code: i32) -> Refusal {
    let what = feature(code).map(|feature| format!(": {feature} is not in this release")).unwrap_or_default();
    let name = code_name(code).unwrap_or("unknown");
    let remark = format!("request type {code} ({name}) not supported{what}");
    Refusal { code: response::REQUEST_CODE_NOT_SUPPORTED, remark }
}

/// What a request that is not supported belongs to.
fn feature(code: i32) -> Option<&'static str> {
    Some(match code {
        200_050..=200_056 | 200_151 => "POP consumption",
        400..=402 => "assignment of queues by the server",
        324..=326 => "request and reply",
        370 => "recalling timed messages",
        60 | 61 | 5_001 => "the timer wheel",
        311..=313 => "unit mode",
        353 => "forbidding topics to groups",
        513 => "static topics",
        901..=908 | 1_001..=1_013 => "replication between brokers",
        2_001..=2_004 => "flow control of cold data",
        50..=53 | 3_001..=3_010 => "access control",
        301 | 302 => "class filters",
        354 | 355 => "RocksDB's storage",
        200_070..=200_079 => "lite topics",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_supported_is_named() {
        let remark = |code| unsupported(code).remark;
        assert!(remark(200_050).contains("POP"));
        assert!(remark(3_006).contains("access control"));
        assert!(remark(99_999).contains("99999 (unknown)"));
        assert_eq!(unsupported(-1).code, 3);
    }
}
