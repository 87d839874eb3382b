//! A stored message: what a pull, a view or a query hands out, one after the other.
//!
//! `size | magic | body CRC | queue | flag | queue offset | physical offset | sysFlag | born time | born host |
//! store time | store host | reconsume times | prepared offset | body | topic | properties`, integers big endian. A
//! host is 4 or 16 bytes and a port; body, topic and properties have their lengths before them, of 4, 1 (2 where the
//! topic is longer than 127 bytes) and 2 bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::sys_flag::{BORN_V6, STORE_V6};

pub const MAGIC_V1: u32 = 0xDAA3_20A7;
pub const MAGIC_V2: u32 = 0xDAA3_20AB;
/// Topics longer than this need the second layout.
const LONG_TOPIC: usize = 127;

/// Who and where, as a message keeps it.
pub type Host = SocketAddr;

/// A message that is about to be stored. The properties are `pieces`, written one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    pub topic: &'a str,
    pub queue: i32,
    pub flag: i32,
    pub queue_offset: i64,
    pub physical_offset: i64,
    /// The bits for the hosts' families are set by [`Stored::encode`].
    pub sys_flag: i32,
    pub born_time: i64,
    pub born_host: Host,
    pub store_time: i64,
    pub store_host: Host,
    pub reconsume_times: i32,
    pub prepared_offset: i64,
    pub body: &'a [u8],
    pub properties: &'a [&'a [u8]],
}

/// Why a message cannot be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLong {
    #[error("a topic of {0} bytes: {max} is the most", max = u16::MAX)]
    Topic(usize),
    #[error("properties of {0} bytes: {max} is the most", max = u16::MAX)]
    Properties(usize),
    #[error("a body of {0} bytes: {MAX_BODY} is the most")]
    Body(usize),
}

/// Keeps a whole message below what its signed length can say.
const MAX_BODY: usize = 1 << 30;

/// Whether parts of these lengths fit the layout.
pub fn check(topic: usize, body: usize, properties: usize) -> Result<(), TooLong> {
    match () {
        () if topic > usize::from(u16::MAX) => Err(TooLong::Topic(topic)),
        () if properties > usize::from(u16::MAX) => Err(TooLong::Properties(properties)),
        () if body > MAX_BODY => Err(TooLong::Body(body)),
        () => Ok(()),
    }
}

/// The bytes that a message takes when stored.
pub fn stored_len(topic: usize, body: usize, properties: usize, born: &Host, store: &Host) -> usize {
    let topic_len = if topic > LONG_TOPIC { 2 } else { 1 };
    72 + host_len(born) + host_len(store) + body + topic_len + topic + 2 + properties
}

fn host_len(host: &Host) -> usize {
    if host.is_ipv6() { 20 } else { 8 }
}

impl Stored<'_> {
    pub fn len(&self) -> usize {
        let properties = self.properties.iter().map(|piece| piece.len()).sum();
        stored_len(self.topic.len(), self.body.len(), properties, &self.born_host, &self.store_host)
    }

    /// A message is never without bytes.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Appends the message to `out`. What [`check`] refuses does not fit its fields: it MUST have been called.
    pub fn encode(&self, out: &mut BytesMut) {
        let properties: usize = self.properties.iter().map(|piece| piece.len()).sum();
        let size = self.len();
        let long = self.topic.len() > LONG_TOPIC;
        out.reserve(size);
        // On the stack first: each piece put into `out` has its length looked at.
        let mut fixed = [0; FIXED];
        let mut head = &mut fixed[..];
        head.put_u32(size as u32);
        head.put_u32(if long { MAGIC_V2 } else { MAGIC_V1 });
        head.put_u32(crc32fast::hash(self.body) & 0x7fff_ffff);
        head.put_i32(self.queue);
        head.put_i32(self.flag);
        head.put_i64(self.queue_offset);
        head.put_i64(self.physical_offset);
        head.put_i32(self.flags());
        head.put_i64(self.born_time);
        put_host(&mut head, &self.born_host);
        head.put_i64(self.store_time);
        put_host(&mut head, &self.store_host);
        head.put_i32(self.reconsume_times);
        head.put_i64(self.prepared_offset);
        head.put_u32(self.body.len() as u32);
        let room = head.len();
        out.put_slice(&fixed[..FIXED - room]);
        out.put_slice(self.body);
        match long {
            true => out.put_u16(self.topic.len() as u16),
            false => out.put_u8(self.topic.len() as u8),
        }
        out.put_slice(self.topic.as_bytes());
        out.put_u16(properties as u16);
        self.properties.iter().for_each(|piece| out.put_slice(piece));
    }

    fn flags(&self) -> i32 {
        let family = |v6: bool, bit: i32| if v6 { bit } else { 0 };
        self.sys_flag & !(BORN_V6 | STORE_V6)
            | family(self.born_host.is_ipv6(), BORN_V6)
            | family(self.store_host.is_ipv6(), STORE_V6)
    }
}

/// What stands before the body, at most.
const FIXED: usize = 112;

fn put_host(out: &mut impl BufMut, host: &Host) {
    match host.ip() {
        IpAddr::V4(ip) => out.put_slice(&ip.octets()),
        IpAddr::V6(ip) => out.put_slice(&ip.octets()),
    }
    out.put_i32(i32::from(host.port()));
}

/// A stored message that was read. Body and properties are slices of what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub size: u32,
    pub topic: String,
    pub queue: i32,
    pub flag: i32,
    pub queue_offset: i64,
    pub physical_offset: i64,
    pub sys_flag: i32,
    pub body_crc: u32,
    pub born_time: i64,
    pub born_host: Host,
    pub store_time: i64,
    pub store_host: Host,
    pub reconsume_times: i32,
    pub prepared_offset: i64,
    pub body: Bytes,
    pub properties: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a stored message: {0}")]
pub struct NotAMessage(pub &'static str);

impl Message {
    /// Takes one message off the front of `from`.
    pub fn take(from: &mut Bytes) -> Result<Message, NotAMessage> {
        let size = from.first_chunk::<4>().map(|size| u32::from_be_bytes(*size));
        let size = size.ok_or(NotAMessage("cut short"))?;
        if (size as usize) < 4 || size as usize > from.len() {
            return Err(NotAMessage("its size is not that of the bytes"));
        }
        let mut rest = from.split_to(size as usize);
        let message = read(&mut rest, size).ok_or(NotAMessage("cut short, or of an unknown layout"))?;
        match rest.is_empty() {
            true => Ok(message),
            false => Err(NotAMessage("longer than its parts")),
        }
    }
}

fn read(from: &mut Bytes, size: u32) -> Option<Message> {
    from.try_get_u32().ok()?;
    let long = match from.try_get_u32().ok()? {
        MAGIC_V1 => false,
        MAGIC_V2 => true,
        _ => return None,
    };
    let body_crc = from.try_get_u32().ok()?;
    let queue = from.try_get_i32().ok()?;
    let flag = from.try_get_i32().ok()?;
    let queue_offset = from.try_get_i64().ok()?;
    let physical_offset = from.try_get_i64().ok()?;
    let sys_flag = from.try_get_i32().ok()?;
    let born_time = from.try_get_i64().ok()?;
    let born_host = take_host(from, sys_flag & BORN_V6 != 0)?;
    let store_time = from.try_get_i64().ok()?;
    let store_host = take_host(from, sys_flag & STORE_V6 != 0)?;
    let reconsume_times = from.try_get_i32().ok()?;
    let prepared_offset = from.try_get_i64().ok()?;
    let body_len = usize::try_from(from.try_get_i32().ok()?).ok()?;
    let body = take_bytes(from, body_len)?;
    let topic_len = match long {
        true => usize::from(from.try_get_u16().ok()?),
        false => usize::from(from.try_get_u8().ok()?),
    };
    let topic = String::from_utf8(take_bytes(from, topic_len)?.to_vec()).ok()?;
    let properties_len = usize::from(from.try_get_u16().ok()?);
    let properties = take_bytes(from, properties_len)?;
    Some(Message {
        size,
        topic,
        queue,
        flag,
        queue_offset,
        physical_offset,
        sys_flag,
        body_crc,
        born_time,
        born_host,
        store_time,
        store_host,
        reconsume_times,
        prepared_offset,
        body,
        properties,
    })
}

fn take_bytes(from: &mut Bytes, len: usize) -> Option<Bytes> {
    (len <= from.len()).then(|| from.split_to(len))
}

fn take_host(from: &mut Bytes, v6: bool) -> Option<Host> {
    let ip = match v6 {
        false => IpAddr::from(Ipv4Addr::from(from.try_get_u32().ok()?)),
        true => IpAddr::from(Ipv6Addr::from(from.try_get_u128().ok()?)),
    };
    Some(Host::new(ip, from.try_get_i32().ok()? as u16))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example<'a>(topic: &'a str, body: &'a [u8], properties: &'a [&'a [u8]]) -> Stored<'a> {
        Stored {
            topic,
            queue: 3,
            flag: 7,
            queue_offset: 42,
            physical_offset: 1 << 40,
            sys_flag: 0x101,
            born_time: 1_700_000_000_123,
            born_host: "192.168.1.2:50123".parse().unwrap(),
            store_time: 1_700_000_000_125,
            store_host: "10.0.0.1:10911".parse().unwrap(),
            reconsume_times: 2,
            prepared_offset: 0,
            body,
            properties,
        }
    }

    fn encoded(message: &Stored<'_>) -> Bytes {
        let mut out = BytesMut::new();
        message.encode(&mut out);
        assert_eq!(out.len(), message.len());
        out.freeze()
    }

    #[test]
    fn fields_are_where_clients_look_for_them() {
        let bytes = encoded(&example("T", b"body", &[b"TAGS\x01a\x02"]));
        assert_eq!(bytes[4..8], MAGIC_V1.to_be_bytes());
        assert_eq!(bytes[20..28], 42_i64.to_be_bytes());
        assert_eq!(bytes[28..36], (1_i64 << 40).to_be_bytes());
        assert_eq!(bytes[36..40], 0x101_i32.to_be_bytes());
        assert_eq!(bytes[56..64], 1_700_000_000_125_i64.to_be_bytes());
    }

    #[test]
    fn families_are_taken_from_the_addresses_and_not_from_the_sender() {
        let mut message = example("T", b"", &[]);
        message.sys_flag = BORN_V6 | STORE_V6 | 1;
        message.born_host = "[::1]:80".parse().unwrap();
        let read = Message::take(&mut encoded(&message)).unwrap();
        assert_eq!(read.sys_flag, BORN_V6 | 1);
        assert_eq!((read.born_host, read.store_host), (message.born_host, message.store_host));
    }

    #[test]
    fn what_does_not_fit_the_layout_is_refused() {
        assert_eq!(check(1, 1, 70_000), Err(TooLong::Properties(70_000)));
        assert_eq!(check(65_535, 4 << 20, 65_535), Ok(()));
    }

    proptest! {
        #[test]
        fn what_is_stored_is_read(topic in "[a-zA-Z0-9_%-]{1,300}", body: Vec<u8>, a: Vec<u8>, b: Vec<u8>) {
            let pieces = [&a[..], &b[..]];
            let mut bytes = encoded(&example(&topic, &body, &pieces));
            let read = Message::take(&mut bytes).unwrap();
            prop_assert!(bytes.is_empty());
            prop_assert_eq!((read.topic, read.body.to_vec()), (topic, body));
            prop_assert_eq!(read.properties.to_vec(), [a, b].concat());
        }

        #[test]
        fn fuzz_any_bytes_are_a_message_or_refused(bytes: Vec<u8>) {
            let _ = Message::take(&mut bytes.into());
        }

        #[test]
        fn fuzz_a_damaged_message_is_read_or_refused(at in 0usize..110, with: u8) {
            let mut bytes = encoded(&example("topic", b"body", &[b"p"])).to_vec();
            let at = at % bytes.len();
            bytes[at] = with;
            let _ = Message::take(&mut bytes.into());
        }
    }
}
