//! Bytes on their way out.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

use crate::bookie::Body;

/// Pieces below this are copied together: a slice of its own in a vectored write costs more than the copy.
const COPY_BELOW: usize = 512;
/// What an empty queue keeps of its buffer.
const KEEP: usize = 4096;
/// What the next buffer begins with, at most.
const MOST: usize = 256 * 1024;

/// Encoded bytes in order, for a vectored write: heads are written into one growing buffer, large bodies stay where
/// they are and are never copied.
#[derive(Debug, Default)]
pub struct Outgoing {
    sealed: VecDeque<Bytes>,
    sealed_len: usize,
    open: BytesMut,
    /// How much the buffer held that was given up last: its successor need not grow to that step by step.
    usual: usize,
}

impl Outgoing {
    pub fn len(&self) -> usize {
        self.sealed_len + self.open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where small fields are written.
    pub fn fields(&mut self) -> &mut BytesMut {
        if self.open.capacity() == 0 {
            self.open.reserve(std::mem::take(&mut self.usual));
        }
        &mut self.open
    }

    pub fn bytes(&mut self, bytes: Bytes) {
        if bytes.len() < COPY_BELOW {
            self.open.extend_from_slice(&bytes);
        } else {
            self.seal();
            self.sealed_len += bytes.len();
            self.sealed.push_back(bytes);
        }
    }

    pub fn body(&mut self, body: &Body) {
        body.pieces().into_iter().for_each(|piece| self.bytes(piece.clone()));
    }

    /// Moves all of `other` behind what is here.
    pub fn append(&mut self, other: &mut Outgoing) {
        if self.is_empty() {
            std::mem::swap(self, other);
            return;
        }
        self.seal();
        other.seal();
        self.sealed_len += std::mem::take(&mut other.sealed_len);
        self.sealed.append(&mut other.sealed);
    }

    fn seal(&mut self) {
        if !self.open.is_empty() {
            let sealed = self.open.split().freeze();
            self.sealed_len += sealed.len();
            self.sealed.push_back(sealed);
        }
    }
}

impl Buf for Outgoing {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        self.sealed.front().map_or(&self.open, |first| first)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pieces = self.sealed.iter().map(|piece| &piece[..]).chain(Some(&self.open[..]));
        let mut used = 0;
        for (slice, piece) in slices.iter_mut().zip(pieces.filter(|piece| !piece.is_empty())) {
            *slice = IoSlice::new(piece);
            used += 1;
        }
        used
    }

    fn advance(&mut self, mut count: usize) {
        self.usual = self.usual.max(self.open.len()).min(MOST);
        while count > 0 {
            let Some(first) = self.sealed.front_mut() else {
                self.open.advance(count);
                break;
            };
            let step = count.min(first.len());
            first.advance(step);
            if first.is_empty() {
                self.sealed.pop_front();
            }
            self.sealed_len -= step;
            count -= step;
        }
        if self.is_empty() {
            if self.open.capacity() > KEEP {
                self.open = BytesMut::new();
            } else {
                self.usual = 0;
            }
        }
        if self.sealed.is_empty() && self.sealed.capacity() > KEEP {
            self.sealed = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    #[test]
    fn pieces_leave_in_order_however_they_are_taken() {
        let mut out = Outgoing::default();
        let mut wanted = Vec::new();
        for i in 0..20u8 {
            let body = vec![i; usize::from(i) * 100];
            out.fields().put_u8(i);
            out.bytes(body.clone().into());
            wanted.push(i);
            wanted.extend(body);
        }
        let mut more = Outgoing::default();
        more.bytes(Bytes::from(vec![99; 1000]));
        wanted.extend([99; 1000]);
        out.append(&mut more);
        assert!(more.is_empty());
        let mut got: Vec<u8> = Vec::new();
        while out.has_remaining() {
            assert_eq!(out.remaining() + got.len(), wanted.len());
            let mut slices = [IoSlice::new(&[]); 3];
            let used = out.chunks_vectored(&mut slices);
            let seen: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
            let step = seen.len().min(777);
            got.extend(&seen[..step]);
            out.advance(step);
        }
        assert_eq!(got, wanted);
    }

    #[test]
    fn a_buffer_begins_as_large_as_the_last_one_grew_and_an_idle_one_is_small() {
        let mut out = Outgoing::default();
        out.fields().put_bytes(7, 50_000);
        out.advance(20_000);
        out.advance(30_000);
        assert_eq!(out.open.capacity(), 0);
        out.fields().put_u8(1);
        assert!(out.open.capacity() >= 50_000);
        out.advance(1);
        out.fields().put_u8(1);
        assert!(out.open.capacity() <= KEEP);
    }
}
