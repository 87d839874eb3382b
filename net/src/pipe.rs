//! The writing side of a connection: whoever has something to say writes it, on his own thread, without waiting.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Buf;
use parking_lot::Mutex;
use protocol::bookie::Outgoing;
use tokio::net::tcp::OwnedWriteHalf;

/// Slices in one system call.
const SLICES: usize = 256;

/// Where the bytes come from.
pub(crate) trait Source {
    /// Encodes what is waiting to be sent into `out`, which is empty.
    fn refill(&self, out: &mut Outgoing);
    /// Whether there is anything to refill with.
    fn waiting(&self) -> bool;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// All is written, or another thread is at it and will write all.
    All,
    /// The peer takes no more: somebody has to wait for [`Pipe::writable`] and flush again.
    Blocked,
}

pub(crate) struct Pipe {
    socket: OwnedWriteHalf,
    writing: Mutex<Outgoing>,
    written: AtomicU64,
}

impl Pipe {
    pub fn new(socket: OwnedWriteHalf) -> Pipe {
        Pipe { socket, writing: Mutex::default(), written: AtomicU64::new(0) }
    }

    /// Writes all there is, as far as the peer takes it. One thread writes at a time; another that comes meanwhile
    /// leaves its bytes to it.
    pub fn flush(&self, source: &impl Source) -> io::Result<Flushed> {
        // Whoever fails to get the lock has put its bytes into the source before; the holder looks there again after
        // giving the lock back. So no bytes are left behind.
        while let Some(mut out) = self.writing.try_lock() {
            loop {
                if out.is_empty() {
                    source.refill(&mut out);
                }
                if out.is_empty() {
                    break;
                }
                if self.write(&mut out)? == Flushed::Blocked {
                    return Ok(Flushed::Blocked);
                }
            }
            drop(out);
            if !source.waiting() {
                break;
            }
        }
        Ok(Flushed::All)
    }

    fn write(&self, out: &mut Outgoing) -> io::Result<Flushed> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let used = out.chunks_vectored(&mut slices);
        match self.socket.try_write_vectored(&slices[..used]) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                out.advance(written);
                self.written.fetch_add(written as u64, Ordering::Relaxed);
                Ok(Flushed::All)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Flushed::Blocked),
            Err(error) => Err(error),
        }
    }

    pub async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// Bytes that the peer has taken so far.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}
