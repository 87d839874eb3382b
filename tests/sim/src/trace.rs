//! Everything observable, in order: hashed, so that two runs of one seed can be compared, and printed on demand.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use net::{Failure, Reply};
use parking_lot::Mutex;
use protocol::bookie::{Answer, Request};
use protocol::entry::Header;
use protocol::{BookieId, EntryId, LedgerId};
use tokio::time::Instant;

use crate::process::ProcessId;

pub enum Event<'a> {
    Sent {
        from: ProcessId,
        to: &'a BookieId,
        call: u64,
        request: &'a Request,
    },
    Arrived {
        to: &'a BookieId,
        call: u64,
        request: &'a Request,
    },
    Answered {
        by: &'a BookieId,
        call: u64,
        reply: &'a Reply,
    },
    Replied {
        to: ProcessId,
        from: &'a BookieId,
        call: u64,
        reply: &'a Reply,
    },
    /// A fault, a step of a scenario, what a client was told.
    Note(&'a str),
}

pub struct Trace {
    began: Instant,
    printed: bool,
    hash: Mutex<DefaultHasher>,
}

impl Trace {
    pub fn new(printed: bool) -> Arc<Trace> {
        Arc::new(Trace { began: Instant::now(), printed, hash: Mutex::new(DefaultHasher::new()) })
    }

    pub fn record(&self, event: &Event<'_>) {
        let at = self.began.elapsed();
        let mut hash = self.hash.lock();
        at.as_micros().hash(&mut *hash);
        event.digest(&mut *hash);
        drop(hash);
        if self.printed {
            println!("{:>9.3} ms  {}", at.as_micros() as f64 / 1000.0, event.text());
        }
    }

    pub fn note(&self, text: &str) {
        self.record(&Event::Note(text));
    }

    /// What the run has been so far, in a number.
    pub fn digest(&self) -> u64 {
        self.hash.lock().finish()
    }
}

impl Event<'_> {
    fn digest(&self, hash: &mut impl Hasher) {
        match self {
            Event::Sent { from, to, call, request } => (1, from, to, call, place(request)).hash(hash),
            Event::Arrived { to, call, request } => (2, to, call, place(request)).hash(hash),
            Event::Answered { by, call, reply } => (3, by, call, outcome(reply)).hash(hash),
            Event::Replied { to, from, call, reply } => (4, to, from, call, outcome(reply)).hash(hash),
            Event::Note(text) => (5, text).hash(hash),
        }
    }

    fn text(&self) -> String {
        match self {
            Event::Sent { from, to, call, request } => {
                format!("p{} → {to} #{call} {}", from.0, asked(request))
            }
            Event::Arrived { to, call, request } => format!("     {to} has #{call} {}", asked(request)),
            Event::Answered { by, call, reply } => format!("     {by} answers #{call} {}", outcome(reply)),
            Event::Replied { to, from, call, reply } => {
                format!("p{} ← {from} #{call} {}", to.0, outcome(reply))
            }
            Event::Note(text) => format!("== {text}"),
        }
    }
}

fn place(request: &Request) -> (u8, Option<LedgerId>, Option<EntryId>) {
    let (kind, entry) = match request {
        Request::Add { entry, .. } => (1, Some(*entry)),
        Request::Read { entry, .. } => (2, Some(*entry)),
        Request::BatchRead { first, .. } => (3, Some(*first)),
        _ => (4, None),
    };
    (kind, request.ledger(), entry)
}

fn asked(request: &Request) -> String {
    match request {
        Request::Add { ledger, entry, body, options, .. } => {
            let recovery = if options.recovery { " (recovery)" } else { "" };
            format!("add {ledger}/{entry}, {} bytes{recovery}", body.len())
        }
        Request::Read { ledger, entry, options } => {
            let fence = if options.fence.is_some() { " (fence)" } else { "" };
            format!("read {ledger}/{entry}{fence}")
        }
        Request::BatchRead { ledger, first, .. } => format!("read {ledger}/{first}…"),
        Request::ListEntries { ledger } => format!("list {ledger}"),
        other => format!("{other:?}"),
    }
}

fn outcome(reply: &Reply) -> String {
    match reply {
        Ok(Answer::Entry { body, .. }) => match Header::of(body) {
            Some(header) => format!("entry {} (lac {}), {} bytes", header.entry, header.lac, body.len()),
            None => "half an entry".into(),
        },
        Ok(Answer::Entries(bodies)) => format!("{} entries", bodies.len()),
        Ok(Answer::Info { .. }) => "info".into(),
        Ok(other) => format!("{other:?}"),
        Err(Failure::Refused(refusal)) => format!("refused: {refusal:?}"),
        Err(failure) => format!("{failure:?}"),
    }
}
