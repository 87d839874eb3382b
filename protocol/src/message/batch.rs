//! The body of a batch: `size | 0 | 0 | flag | body behind its i32 length | properties behind their i16 length`, for
//! each message. Topic, queue and hosts are those of the request.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::Garbage;

const SHORT: Garbage = Garbage("a batch whose lengths do not fit");

/// One message of a batch; slices of the request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batched {
    pub flag: i32,
    pub body: Bytes,
    pub properties: Bytes,
}

impl Batched {
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u32((22 + self.body.len() + self.properties.len()) as u32);
        out.put_u32(0);
        out.put_u32(0);
        out.put_i32(self.flag);
        out.put_u32(self.body.len() as u32);
        out.put_slice(&self.body);
        out.put_u16(self.properties.len() as u16);
        out.put_slice(&self.properties);
    }
}

/// Takes a batch apart; an error, once, at the first message that makes no sense.
pub fn decode(mut body: Bytes) -> impl Iterator<Item = Result<Batched, Garbage>> {
    std::iter::from_fn(move || {
        if body.is_empty() {
            return None;
        }
        let taken = take(&mut body);
        if taken.is_err() {
            body.clear();
        }
        Some(taken)
    })
}

fn take(from: &mut Bytes) -> Result<Batched, Garbage> {
    let size = from.first_chunk::<4>().map(|size| u32::from_be_bytes(*size)).ok_or(SHORT)?;
    if (size as usize) < 22 || size as usize > from.len() {
        return Err(SHORT);
    }
    let mut one = from.split_to(size as usize);
    one.advance(12);
    let flag = one.try_get_i32().map_err(|_| SHORT)?;
    let length = one.try_get_u32().map_err(|_| SHORT)? as usize;
    if length > one.len() {
        return Err(SHORT);
    }
    let body = one.split_to(length);
    let length = usize::from(one.try_get_u16().map_err(|_| SHORT)?);
    if length != one.len() {
        return Err(SHORT);
    }
    Ok(Batched { flag, body, properties: one })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(all: &[Batched]) -> Bytes {
        let mut out = BytesMut::new();
        all.iter().for_each(|one| one.encode(&mut out));
        out.freeze()
    }

    #[test]
    fn a_batch_is_laid_out_as_javas() {
        let one = Batched { flag: 5, body: Bytes::from_static(b"hi"), properties: Bytes::from_static(b"p") };
        let bytes = encoded(std::slice::from_ref(&one));
        assert_eq!(&bytes[..], b"\0\0\0\x19\0\0\0\0\0\0\0\0\0\0\0\x05\0\0\0\x02hi\0\x01p");
        assert_eq!(decode(bytes).collect::<Vec<_>>(), [Ok(one)]);
    }

    #[test]
    fn what_is_cut_short_is_refused_once() {
        let one = Batched { flag: 0, body: Bytes::from_static(b"hello"), properties: Bytes::new() };
        let bytes = encoded(&[one.clone(), one]);
        let read: Vec<_> = decode(bytes.slice(..bytes.len() - 1)).collect();
        assert_eq!(read.len(), 2);
        assert!(read[0].is_ok() && read[1].is_err());
    }

    proptest! {
        #[test]
        fn fuzz_any_bytes_are_a_batch_or_refused(mut bytes: Vec<u8>, size in 0u32..60) {
            prop_assert!(decode(bytes.clone().into()).count() <= bytes.len());
            bytes.splice(0..0, size.to_be_bytes());
            prop_assert!(decode(bytes.clone().into()).count() <= bytes.len());
        }

        #[test]
        fn batches_survive(parts in prop::collection::vec((any::<i32>(), any::<Vec<u8>>(), any::<Vec<u8>>()), 0..6)) {
            let all: Vec<Batched> = parts
                .into_iter()
                .map(|(flag, body, properties)| Batched { flag, body: body.into(), properties: properties.into() })
                .collect();
            let read: Result<Vec<Batched>, _> = decode(encoded(&all)).collect();
            prop_assert_eq!(read, Ok(all));
        }
    }
}
