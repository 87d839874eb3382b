//! The reading side of a connection: one buffer that grows with what arrives, and frames cut from it without copying.

use std::io;

use bytes::{Bytes, BytesMut};
use protocol::bookie::frame::{self, Oversized};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;

const FIRST: usize = 2 * 1024;
const MOST: usize = 256 * 1024;

pub(crate) struct Receive {
    socket: OwnedReadHalf,
    buffer: BytesMut,
    /// What the next read makes room for.
    room: usize,
    pub max_frame: usize,
}

impl Receive {
    pub fn new(socket: OwnedReadHalf, max_frame: usize) -> Receive {
        Receive { socket, buffer: BytesMut::new(), room: FIRST, max_frame }
    }

    /// Waits for bytes. While it waits with nothing received, it holds no buffer. False: the peer has closed.
    /// Safe to cancel.
    pub async fn more(&mut self) -> io::Result<bool> {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        self.socket.readable().await?;
        let room = self.next_room();
        self.buffer.reserve(room);
        let read = self.socket.read_buf(&mut self.buffer).await?;
        self.room =
            if read >= self.room { (self.room * 2).min(MOST) } else { self.room.max(read * 2).div_ceil(2) };
        self.room = self.room.max(FIRST);
        Ok(read > 0)
    }

    /// Room for the next read: as much as usually comes; within a large frame as much again as has come of it. What
    /// a length field announces never counts.
    pub fn next_room(&self) -> usize {
        let missing = frame::missing(&self.buffer, self.max_frame).unwrap_or(0);
        self.room.max(missing.min(self.buffer.len()))
    }

    /// The next whole frame.
    pub fn frame(&mut self) -> Result<Option<Bytes>, Oversized> {
        frame::split(&mut self.buffer, self.max_frame)
    }

    /// Bytes of a frame that is not whole.
    pub fn partial(&self) -> &[u8] {
        &self.buffer
    }
}
