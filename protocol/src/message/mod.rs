//! RocketMQ's messages.
//!
//! * [`stored`] — the layout of a message in a log and in a pull's answer.
//! * [`properties`] — their properties, as text.
//! * [`batch`] — several in one request.
//! * [`id`] — their names.

pub mod batch;
pub mod id;
pub mod properties;
pub mod stored;
pub mod sys_flag;

pub use batch::Batched;
pub use id::{OffsetId, UniqueKeys};
pub use stored::{Host, Message, Stored};

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::bookie::golden::vector;

    const GOLDEN: &str = include_str!("../../../tests/golden/wire/remoting.hex");

    #[test]
    fn a_message_is_stored_as_rocketmq_stores_it() {
        let golden = vector(GOLDEN, "stored");
        let read = Message::take(&mut golden.clone()).unwrap();
        assert_eq!((read.queue_offset, read.physical_offset), (42, 1 << 33));
        let properties = std::str::from_utf8(&read.properties).unwrap();
        assert_eq!(properties::get(properties, properties::TAGS), Some("t"));
        assert_eq!(properties::keys(properties).collect::<Vec<_>>(), ["a", "b"]);
        let again = Stored {
            topic: &read.topic,
            queue: read.queue,
            flag: read.flag,
            queue_offset: read.queue_offset,
            physical_offset: read.physical_offset,
            sys_flag: read.sys_flag,
            born_time: read.born_time,
            born_host: read.born_host,
            store_time: read.store_time,
            store_host: read.store_host,
            reconsume_times: read.reconsume_times,
            prepared_offset: read.prepared_offset,
            body: &read.body,
            properties: &[&read.properties],
        };
        let mut out = BytesMut::new();
        again.encode(&mut out);
        assert_eq!(out, golden);
    }

    #[test]
    fn a_batch_of_rocketmqs_own_is_taken_apart_and_put_together() {
        let golden = vector(GOLDEN, "batch");
        let all: Vec<Batched> = batch::decode(golden.clone()).collect::<Result<_, _>>().unwrap();
        let bodies: Vec<_> = all.iter().map(|one| (&one.body[..], one.flag)).collect();
        assert_eq!(bodies, [(&b"one"[..], 0), (&b"two"[..], 9)]);
        let mut out = BytesMut::new();
        all.iter().for_each(|one| one.encode(&mut out));
        assert_eq!(out, golden);
    }

    #[test]
    fn ids_are_those_of_rocketmq() {
        for (name, host) in [("id_v4", "10.0.0.1:10911"), ("id_v6", "[fe80::1]:10911")] {
            let line = GOLDEN.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap();
            let id = OffsetId { host: host.parse().unwrap(), offset: 1 << 33 };
            assert_eq!(id.to_string(), line);
            assert_eq!(line.parse(), Ok(id));
        }
    }
}
