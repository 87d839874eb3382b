//! What a virtual broker has done since this owner began.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

#[derive(Debug, Default)]
pub struct Counts {
    pub messages_in: AtomicU64,
    pub bytes_in: AtomicU64,
    pub messages_out: AtomicU64,
    pub bytes_out: AtomicU64,
}

impl Counts {
    pub(super) fn stored(&self, messages: usize, bytes: usize) {
        self.messages_in.fetch_add(messages as u64, Ordering::Relaxed);
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn delivered(&self, count: usize, messages: &[Bytes]) {
        self.messages_out.fetch_add(count as u64, Ordering::Relaxed);
        let bytes: usize = messages.iter().map(Bytes::len).sum();
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
