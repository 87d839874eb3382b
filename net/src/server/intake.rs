//! Frames to requests.

use std::sync::Arc;

use bytes::Bytes;
use protocol::bookie::frame::Oversized;
use protocol::bookie::{Auth, FromClient, Garbage, Refusal, Request, extension, v2, v3};

use super::conn::{Conn, State, Wire};
use crate::ReplyTo;

/// A refused frame up to this size is thrown away as it arrives, so that its sender reads the refusal; beyond, the
/// length is taken for garbage.
const MAX_REFUSED: u64 = 64 << 20;

/// What a connection's frames are turned into.
pub(super) struct Intake {
    /// The greeting of our client was answered.
    pub extension: bool,
    pub batch: Vec<(Request, ReplyTo)>,
}

impl Intake {
    pub fn new() -> Intake {
        Intake { extension: false, batch: Vec::new() }
    }

    /// Takes one frame in. What is refused or greeted is answered here.
    pub fn frame(&mut self, conn: &Arc<Conn>, state: &mut State, frame: Bytes) -> Result<(), Garbage> {
        if self.extension {
            return extension::decode_requests(frame, |id, request| {
                let echo = State::extension_echo(id);
                match request {
                    Ok(request) => {
                        let duty = conn.owe(state, Wire::Extension, echo, &request);
                        self.batch.push((request, duty));
                    }
                    Err(refusal) => conn.refuse(state, Wire::Extension, &echo, refusal),
                }
            });
        }
        let (wire, incoming) = match frame.first() {
            Some(&v2::FIRST_BYTE) => (Wire::V2, v2::decode_request(frame)?),
            Some(&v3::FIRST_BYTE) => (Wire::V3, v3::decode_request(frame)?),
            _ => return Err(Garbage("neither BookKeeper's v2 nor its v3")),
        };
        match incoming {
            FromClient::Ask(echo, request) => {
                let duty = conn.owe(state, wire, echo, &request);
                self.batch.push((request, duty));
            }
            FromClient::Refuse(echo, refusal) => conn.refuse(state, wire, &echo, refusal),
            FromClient::Auth { auth, .. } if wire == Wire::V2 => {
                let answer = self.greet(conn, auth);
                conn.say(state, |state| v2::encode_auth(&answer, &mut state.out));
            }
            FromClient::Auth { id, .. } => {
                conn.say(state, |state| v3::encode_auth(id, Auth::disabled(), &mut state.out));
            }
        }
        Ok(())
    }

    /// The answer to a v2 greeting: our extension if it asks for that, otherwise what BookKeeper without plug-ins says.
    fn greet(&mut self, conn: &Conn, auth: Auth) -> Auth {
        if auth.plugin != extension::PLUGIN || extension::Hello::decode(auth.payload).is_err() {
            return Auth::disabled();
        }
        self.extension = true;
        conn.shared.welcome().encode()
    }

    /// A frame that is too large has begun with `received`. Refuses it by name if it is an add; the size of what is
    /// to be thrown away. `None`: more of it is needed to tell.
    pub fn oversized(
        &self,
        conn: &Conn,
        state: &mut State,
        received: &[u8],
        frame: Oversized,
    ) -> Result<Option<u64>, Oversized> {
        /// Length, header, key, ledger and entry.
        const TO_KNOW: usize = 44;
        let add = !self.extension
            && frame.announced <= MAX_REFUSED
            && received.get(4).is_none_or(|byte| *byte == 2);
        match v2::oversized_add(received) {
            Some(echo) if add => {
                conn.refuse(state, Wire::V2, &echo, Refusal::BadRequest);
                Ok(Some(frame.announced))
            }
            None if add && received.len() < TO_KNOW => Ok(None),
            _ => Err(frame),
        }
    }
}
