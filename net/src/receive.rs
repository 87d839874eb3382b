//! The reading side of a connection: one buffer that grows with what arrives, and frames cut from it without copying.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use protocol::bookie::frame::{self, Oversized};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;

/// What a connection holds that has sent little.
pub(crate) const FIRST: usize = 2 * 1024;
const MOST: usize = 256 * 1024;

pub(crate) struct Receive {
    socket: OwnedReadHalf,
    buffer: BytesMut,
    /// What the buffer takes, its used up front included.
    allocated: usize,
    /// What usually comes at once.
    usual: usize,
    pub max_frame: usize,
    /// Bytes of a refused frame that are still to come, and to be thrown away.
    skip: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Some,
    /// It was a false alarm.
    None,
    End,
}

impl Receive {
    pub fn new(socket: OwnedReadHalf, max_frame: usize) -> Receive {
        Receive { socket, buffer: BytesMut::new(), allocated: 0, usual: FIRST, max_frame, skip: 0 }
    }

    /// Waits until there is something to read. While it waits with nothing received, it holds no buffer. Safe to
    /// cancel.
    pub async fn ready(&mut self) -> io::Result<()> {
        self.shrink();
        self.socket.readable().await
    }

    /// Room for the next read: as much as usually comes; within a large frame as much again as has come of it. What
    /// a length field announces never counts.
    pub fn room(&self) -> usize {
        let missing = frame::missing(&self.buffer, self.max_frame).unwrap_or(0);
        self.usual.max(missing.min(self.buffer.len()))
    }

    /// What is held in memory.
    pub fn held(&self) -> usize {
        self.allocated
    }

    /// Moves the beginning of a frame out of a buffer that is much larger than it.
    pub fn shrink(&mut self) {
        if self.allocated > 2 * self.buffer.len() + FIRST || self.buffer.is_empty() {
            self.buffer = BytesMut::from(&self.buffer[..]);
            self.allocated = self.buffer.capacity();
        }
    }

    /// Reads once, at most `room` bytes, without waiting.
    pub fn read(&mut self, room: usize) -> io::Result<Read> {
        let before = self.buffer.capacity();
        self.buffer.reserve(room);
        if self.buffer.capacity() > before {
            self.allocated = self.buffer.capacity();
        }
        // The socket's own read, unlike `try_read_buf`, knows that a short read has emptied it. Nobody is woken by
        // the waker given here: waiting is `ready`'s business.
        let mut now = Context::from_waker(Waker::noop());
        let read = match pin!(self.socket.read_buf(&mut self.buffer)).poll(&mut now) {
            Poll::Ready(read) => read?,
            Poll::Pending => return Ok(Read::None),
        };
        if read == 0 {
            return Ok(Read::End);
        }
        self.usual = if read >= self.usual { self.usual * 2 } else { self.usual.max(read * 2) / 2 };
        self.usual = self.usual.clamp(FIRST, MOST);
        let skipped = self.skip.min(self.buffer.len() as u64);
        self.buffer.advance(skipped as usize);
        self.skip -= skipped;
        Ok(Read::Some)
    }

    /// Waits for bytes. False: the peer has closed. Safe to cancel.
    pub async fn more(&mut self) -> io::Result<bool> {
        loop {
            self.ready().await?;
            match self.read(self.room())? {
                Read::Some => return Ok(true),
                Read::None => {}
                Read::End => return Ok(false),
            }
        }
    }

    /// Closes the socket in both directions, whoever still holds its other half.
    pub fn shut(&self) {
        // It fails on a socket that is closed already.
        let _ = socket2::SockRef::from(self.socket.as_ref()).shutdown(std::net::Shutdown::Both);
    }

    /// The next whole frame.
    pub fn frame(&mut self) -> Result<Option<Bytes>, Oversized> {
        frame::split(&mut self.buffer, self.max_frame)
    }

    /// Bytes of a frame that is not whole.
    pub fn partial(&self) -> &[u8] {
        &self.buffer
    }

    /// Throws the frame away that has begun, `size` bytes in all, as its bytes arrive.
    pub fn skip(&mut self, size: u64) {
        let here = size.min(self.buffer.len() as u64);
        self.buffer.advance(here as usize);
        self.skip = size - here;
    }
}
