//! Frames: `length u32 | body`, the length counting the body only. All wires share this.

use bytes::{Buf, Bytes, BytesMut};

/// What the length field takes.
pub const LENGTH: usize = 4;

/// The peer announced a frame larger than may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {announced} bytes is larger than the {allowed} that are allowed")]
pub struct Oversized {
    pub announced: u64,
    pub allowed: usize,
}

/// Takes the first frame off `received`, once it is whole. `max` counts the length field too.
pub fn split(received: &mut BytesMut, max: usize) -> Result<Option<Bytes>, Oversized> {
    let Some(size) = size(received, max)? else { return Ok(None) };
    if received.len() < size {
        return Ok(None);
    }
    let mut frame = received.split_to(size).freeze();
    frame.advance(LENGTH);
    Ok(Some(frame))
}

/// How many bytes the first frame still lacks, if its length is known.
pub fn missing(received: &[u8], max: usize) -> Option<usize> {
    let size = size(received, max).ok()??;
    Some(size.saturating_sub(received.len()))
}

/// The whole size of the first frame, its length field included.
fn size(received: &[u8], max: usize) -> Result<Option<usize>, Oversized> {
    let Some(length) = received.first_chunk::<LENGTH>() else { return Ok(None) };
    let announced = u64::from(u32::from_be_bytes(*length)) + LENGTH as u64;
    match usize::try_from(announced) {
        Ok(size) if size <= max => Ok(Some(size)),
        _ => Err(Oversized { announced, allowed: max }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_they_arrive() {
        let stream: Vec<u8> = [&b"\0\0\0\x03abc"[..], b"\0\0\0\0", b"\0\0\0\x01z"].concat();
        for step in 1..stream.len() {
            let mut received = BytesMut::new();
            let mut frames = Vec::new();
            for piece in stream.chunks(step) {
                received.extend_from_slice(piece);
                while let Ok(Some(frame)) = split(&mut received, 100) {
                    frames.push(frame);
                }
            }
            assert_eq!(frames, [&b"abc"[..], b"", b"z"]);
        }
    }

    #[test]
    fn the_limit_counts_the_length_field() {
        let mut fits = BytesMut::from(&b"\0\0\0\x06abcdef"[..]);
        assert_eq!(split(&mut fits.clone(), 10), Ok(Some(Bytes::from_static(b"abcdef"))));
        assert_eq!(split(&mut fits, 9), Err(Oversized { announced: 10, allowed: 9 }));
        assert_eq!(missing(b"\0\0\0\x06ab", 10), Some(4));
        assert_eq!(missing(b"\0\0\0", 10), None);
    }
}
