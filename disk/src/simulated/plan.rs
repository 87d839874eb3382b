//! Faults to come: which call fails, and how.

use std::io;

/// The calls that can be told to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Create,
    Open,
    List,
    Rename,
    Remove,
    SyncFolder,
    Write,
    Sync,
    Read,
    /// Whatever comes.
    Any,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EIO. A failed write may have written some of it; a failed sync loses track of what it covered.
    Io,
    /// ENOSPC, with the same effects.
    Full,
    /// A write that does some of its work and says so with an error; EIO for other calls.
    Short,
    /// A write that goes elsewhere in the same file and reports success; other calls are not affected.
    Misdirected,
    /// The power fails during this call: it and all later calls of this mount are errors.
    Power,
}

impl Fault {
    pub(super) fn error(self) -> io::Error {
        match self {
            Fault::Full => io::Error::new(io::ErrorKind::StorageFull, "simulated: no space left on the disk"),
            Fault::Power => power_is_off(),
            Fault::Io | Fault::Short | Fault::Misdirected => {
                io::Error::other("simulated: input/output error")
            }
        }
    }
}

pub(super) fn power_is_off() -> io::Error {
    io::Error::other("simulated: this mount of the disk has ended (power loss or kill)")
}

#[derive(Default)]
pub(super) struct Plan {
    waiting: Vec<(Call, u64, Fault)>,
}

impl Plan {
    pub(super) fn add(&mut self, call: Call, after: u64, fault: Fault) {
        self.waiting.push((call, after, fault));
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Counts a call; the fault it meets, if any.
    pub(super) fn count(&mut self, call: Call) -> Option<Fault> {
        let mut due = None;
        self.waiting.retain_mut(|(which, left, fault)| {
            if *which != call && *which != Call::Any {
                return true;
            }
            if *left == 0 && due.is_none() {
                due = Some(*fault);
                return false;
            }
            *left = left.saturating_sub(1);
            true
        });
        due
    }
}
