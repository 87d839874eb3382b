//! Messages, as they are sent and as they are received.

use std::fmt;
use std::io::Read;
use std::net::SocketAddr;

use bytes::Bytes;
use protocol::message::{self as stored, OffsetId, properties, sys_flag};

use crate::Error;

/// More than this the bodies of one answer are not unpacked to: 32 of 4 MB, the most that a pull is answered with as long
/// as producers are configured as usual. A thousandth of it is enough to pack zeros.
const MAX_UNPACKED: u64 = 128 << 20;

/// A queue of a topic. In the order by which all members of a group share queues out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Queue {
    pub topic: String,
    pub broker: String,
    pub id: i32,
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.topic, self.broker, self.id)
    }
}

/// A message to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub body: Bytes,
    pub flag: i32,
    pub(crate) properties: String,
}

impl Message {
    pub fn new(topic: impl Into<String>, body: impl Into<Bytes>) -> Message {
        Message { topic: topic.into(), body: body.into(), flag: 0, properties: String::new() }
    }

    /// What consumers select by.
    pub fn tag(self, tag: &str) -> Message {
        self.property(properties::TAGS, tag)
    }

    /// A word by which the message can be found. Several calls give several keys.
    pub fn key(self, key: &str) -> Message {
        let keys = match properties::get(&self.properties, properties::KEYS) {
            Some(before) => format!("{before} {key}"),
            None => key.to_owned(),
        };
        self.property(properties::KEYS, &keys)
    }

    /// One of the broker's delay levels: 1 is 1 s, 18 is 2 h, unless it is configured otherwise.
    pub fn delay_level(self, level: u32) -> Message {
        self.property(properties::DELAY, &level.to_string())
    }

    /// Any property. Its name and value cannot contain the characters 1 and 2.
    pub fn property(mut self, name: &str, value: &str) -> Message {
        self.properties = properties::with(&self.properties, name, Some(value));
        self
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        properties::get(&self.properties, name)
    }
}

/// How safe a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendStatus {
    Ok,
    /// Stored; but it was not confirmed in time that a disk, or enough replicas, have it.
    Unconfirmed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub status: SendStatus,
    /// The unique key that this client gave the message.
    pub message_id: String,
    /// The broker's name for it: where it is stored. Of a batch several, with commas between.
    pub offset_id: String,
    pub queue: Queue,
    /// Of a batch that of the first message.
    pub offset: i64,
}

/// A message that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub topic: String,
    pub queue: Queue,
    pub offset: i64,
    pub body: Bytes,
    pub flag: i32,
    /// The unique key that its sender gave it, or else its offset id.
    pub message_id: String,
    pub offset_id: OffsetId,
    /// ms since 1970.
    pub born_time: i64,
    pub born_host: SocketAddr,
    pub store_time: i64,
    /// How often it was consumed in vain.
    pub reconsume_times: i32,
    pub prepared_offset: i64,
    pub(crate) properties: String,
}

impl Received {
    pub fn get(&self, name: &str) -> Option<&str> {
        properties::get(&self.properties, name)
    }

    pub fn tag(&self) -> Option<&str> {
        self.get(properties::TAGS)
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        properties::keys(&self.properties)
    }

    pub fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        properties::iter(&self.properties)
    }

    /// Where it is stored.
    pub fn physical_offset(&self) -> i64 {
        self.offset_id.offset
    }

    /// Takes apart what a pull answered.
    pub(crate) fn decode(mut body: Bytes, broker: &str) -> Result<Vec<Received>, Error> {
        let (mut all, mut room) = (Vec::new(), MAX_UNPACKED);
        while !body.is_empty() {
            let message =
                stored::Message::take(&mut body).map_err(|error| Error::Nonsense(error.to_string()))?;
            all.push(Received::within(&mut room, message, broker)?);
        }
        Ok(all)
    }

    pub(crate) fn from_stored(message: stored::Message, broker: &str) -> Result<Received, Error> {
        Received::within(&mut { MAX_UNPACKED }, message, broker)
    }

    fn within(room: &mut u64, message: stored::Message, broker: &str) -> Result<Received, Error> {
        let properties = String::from_utf8_lossy(&message.properties).into_owned();
        let offset_id = OffsetId { host: message.store_host, offset: message.physical_offset };
        let message_id = properties::get(&properties, properties::UNIQ_KEY)
            .map_or_else(|| offset_id.to_string(), str::to_owned);
        let queue = Queue { topic: message.topic.clone(), broker: broker.to_owned(), id: message.queue };
        Ok(Received {
            topic: message.topic,
            queue,
            offset: message.queue_offset,
            body: unpacked(message.body, message.sys_flag, room)?,
            flag: message.flag,
            message_id,
            offset_id,
            born_time: message.born_time,
            born_host: message.born_host,
            store_time: message.store_time,
            reconsume_times: message.reconsume_times,
            prepared_offset: message.prepared_offset,
            properties,
        })
    }
}

/// The body as it was sent; what it takes of `room` is taken off that.
fn unpacked(body: Bytes, flags: i32, room: &mut u64) -> Result<Bytes, Error> {
    if flags & sys_flag::COMPRESSED == 0 {
        return Ok(body);
    }
    match flags & sys_flag::COMPRESSION {
        0 | sys_flag::ZLIB => {
            let mut out = Vec::new();
            // A byte more, to tell a body that ends there from one that goes on.
            let mut unpack = flate2::read::ZlibDecoder::new(&body[..]).take(*room + 1);
            unpack
                .read_to_end(&mut out)
                .map_err(|error| Error::Nonsense(format!("a body that cannot be unpacked: {error}")))?;
            *room = room.checked_sub(out.len() as u64).ok_or_else(|| {
                Error::Nonsense(format!(
                    "bodies that unpack to more than {} MB in one answer",
                    MAX_UNPACKED >> 20
                ))
            })?;
            Ok(out.into())
        }
        _ => Err(Error::Nonsense(
            "a body packed by LZ4 or ZSTD, which this client does not unpack: send with ZLIB or none"
                .to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_gather_and_tags_replace() {
        let message = Message::new("t", "b").key("a").key("b").tag("x").tag("y").delay_level(3);
        assert_eq!(message.get("KEYS"), Some("a b"));
        assert_eq!(message.get("TAGS"), Some("y"));
        assert_eq!(message.get("DELAY"), Some("3"));
    }

    fn packed(body: &[u8]) -> Bytes {
        use std::io::Write;
        let mut pack = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        pack.write_all(body).unwrap();
        pack.finish().unwrap().into()
    }

    #[test]
    fn packed_bodies_are_unpacked() {
        let packed = packed(b"hello hello");
        let unpacked = |body: &Bytes, flags| unpacked(body.clone(), flags, &mut 100);
        assert_eq!(unpacked(&packed, 0x301).unwrap(), "hello hello");
        assert_eq!(unpacked(&packed, 0).unwrap(), packed);
        assert!(unpacked(&packed, 0x101).is_err());
        assert!(unpacked(&Bytes::from_static(b"x"), 1).is_err());
    }

    #[test]
    fn bodies_that_become_too_large_together_are_refused_and_not_cut() {
        let zeros = packed(&[0; 1000]);
        let mut room = 2000;
        for left in [1000, 0] {
            assert_eq!(unpacked(zeros.clone(), 1, &mut room).unwrap().len(), 1000);
            assert_eq!(room, left);
        }
        assert!(unpacked(zeros, 1, &mut room).is_err_and(|error| error.to_string().contains("128 MB")));
    }

    /// As a broker answers it, twice.
    fn answer() -> Vec<u8> {
        let body = packed(b"hello hello");
        let message = stored::Stored {
            topic: "topic",
            queue: 3,
            flag: 7,
            queue_offset: 42,
            physical_offset: 1 << 40,
            sys_flag: 0x301,
            born_time: 1,
            born_host: "192.168.1.2:50123".parse().unwrap(),
            store_time: 2,
            store_host: "10.0.0.1:10911".parse().unwrap(),
            reconsume_times: 0,
            prepared_offset: 0,
            body: &body,
            properties: &[b"TAGS\x01a\x02"],
        };
        let mut out = bytes::BytesMut::new();
        message.encode(&mut out);
        message.encode(&mut out);
        out.to_vec()
    }

    #[test]
    fn an_answer_is_taken_apart() {
        let all = Received::decode(answer().into(), "b").unwrap();
        let told: Vec<_> = all.iter().map(|one| (&one.body[..], one.offset, one.tag())).collect();
        assert_eq!(told, [(&b"hello hello"[..], 42, Some("a")); 2]);
    }

    proptest! {
        #[test]
        fn fuzz_any_answer_is_read_or_refused(bytes: Vec<u8>) {
            let _ = Received::decode(bytes.into(), "b");
        }

        #[test]
        fn fuzz_a_damaged_answer_is_read_or_refused(at: prop::sample::Index, with: u8) {
            let mut bytes = answer();
            let at = at.index(bytes.len());
            bytes[at] = with;
            let _ = Received::decode(bytes.into(), "b");
        }

        #[test]
        fn fuzz_any_body_is_unpacked_or_refused(body: Vec<u8>, flags: i32) {
            let _ = unpacked(body.into(), flags, &mut 1000);
        }
    }
}
