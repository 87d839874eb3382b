//! What bookies hold for requests that they have not answered.

use std::collections::BTreeMap;

use protocol::BookieId;
use protocol::bookie::Request;

use super::Model;
use crate::process::ProcessId;

#[derive(Default)]
pub struct Memory {
    held: BTreeMap<ProcessId, u64>,
}

impl Memory {
    pub fn given_back(&mut self, process: ProcessId, bytes: u64) {
        if let Some(held) = self.held.get_mut(&process) {
            *held = held.saturating_sub(bytes);
        }
    }
}

impl Model {
    /// A process that may use so much memory has taken a request; the bytes that it holds now for it.
    pub fn taken(
        &mut self,
        bookie: &BookieId,
        (process, memory): (ProcessId, u64),
        request: &Request,
    ) -> u64 {
        let Request::Add { body, .. } = request else { return 0 };
        let bytes = body.len() as u64;
        let held = self.memory.held.entry(process).or_default();
        *held += bytes;
        // What it refuses it gives back before it takes the next.
        if let Some(all) = Some(*held).filter(|all| *all > memory) {
            let text = format!("{bookie} holds {all} bytes of requests, and may use {memory}");
            self.violation("B10", text);
        }
        bytes
    }
}
