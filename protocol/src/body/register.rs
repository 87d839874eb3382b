//! What a broker tells name servers of itself: the body of code 103, plain or compressed.
//!
//! Compressed (zlib): version (JSON), number of topics, topics (lines), filter servers (JSON), number of mappings,
//! mappings (JSON); before each text its length, all numbers of four bytes.

use std::io::Read;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{ZlibDecoder, ZlibEncoder};
use serde::{Deserialize, Serialize};

use super::topic::{TopicConfig, TopicTable};
use super::{Malformed, json};

/// A field of registrations by ours: the topics in the body are all that there are.
pub const WHOLE_FIELD: &str = "strataWhole";

/// More than this a registration cannot be once it is inflated: a million topics fit.
const INFLATED: u64 = 256 << 20;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Registration {
    pub filter_server_list: Vec<String>,
    pub topic_config_serialize_wrapper: TopicTable,
}

impl Registration {
    pub fn new(topics: TopicTable) -> Registration {
        Registration { filter_server_list: Vec::new(), topic_config_serialize_wrapper: topics }
    }

    /// An empty body is an empty registration.
    pub fn decode(body: &[u8], compressed: bool) -> Result<Registration, Malformed> {
        match (body.is_empty(), compressed) {
            (true, _) => Ok(Registration::default()),
            (false, false) => json::read(body),
            (false, true) => {
                let mut pieces = Pieces(ZlibDecoder::new(body).take(INFLATED));
                pieces.registration()
            }
        }
    }

    pub fn encode(&self) -> Bytes {
        json::write(self)
    }

    pub fn compress(&self) -> Bytes {
        let topics = &self.topic_config_serialize_wrapper;
        let mut plain = Vec::new();
        put(&mut plain, &json::write(&topics.data_version));
        plain.extend_from_slice(&(topics.topic_config_table.len() as u32).to_be_bytes());
        for topic in topics.topic_config_table.values() {
            put(&mut plain, topic.to_line().as_bytes());
        }
        put(&mut plain, &json::write(&self.filter_server_list));
        plain.extend_from_slice(&0u32.to_be_bytes());
        let mut small = Vec::new();
        // Reading from memory and writing to memory do not fail.
        let _ = ZlibEncoder::new(&plain[..], Compression::best()).read_to_end(&mut small);
        small.into()
    }
}

/// The check that RocketMQ puts into `bodyCrc32`: CRC-32 without its highest bit.
pub fn body_crc(body: &[u8]) -> i32 {
    (crc32fast::hash(body) & 0x7fff_ffff) as i32
}

fn put(to: &mut Vec<u8>, text: &[u8]) {
    to.extend_from_slice(&(text.len() as u32).to_be_bytes());
    to.extend_from_slice(text);
}

struct Pieces<R>(R);

impl<R: Read> Pieces<R> {
    fn registration(&mut self) -> Result<Registration, Malformed> {
        let mut topics = TopicTable { data_version: json::read(&self.piece()?)?, ..TopicTable::default() };
        for _ in 0..self.number()? {
            let line = self.piece()?;
            let line = std::str::from_utf8(&line).map_err(|_| Malformed("a topic is not UTF-8".into()))?;
            let topic = TopicConfig::from_line(line)?;
            topics.topic_config_table.insert(topic.topic_name.clone(), topic);
        }
        // What follows (mappings of static topics) came later and is not used.
        let filter_server_list = json::read(&self.piece()?)?;
        Ok(Registration { filter_server_list, topic_config_serialize_wrapper: topics })
    }

    fn number(&mut self) -> Result<u32, Malformed> {
        let mut bytes = [0; 4];
        self.0
            .read_exact(&mut bytes)
            .map_err(|error| Malformed(format!("it cannot be inflated: {error}")))?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn piece(&mut self) -> Result<Vec<u8>, Malformed> {
        let length = self.number()?;
        let mut piece = Vec::new();
        // Grows with what is there, not with what is announced.
        match (&mut self.0).take(u64::from(length)).read_to_end(&mut piece) {
            Ok(read) if read == length as usize => Ok(piece),
            Ok(_) => Err(Malformed("it ends too early".into())),
            Err(error) => Err(Malformed(format!("it cannot be inflated: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::topic::DataVersion;
    use super::*;

    fn some() -> Registration {
        let topics = ["T", "%RETRY%g"].map(|name| {
            (name.to_string(), TopicConfig { topic_name: name.into(), ..TopicConfig::default() })
        });
        Registration::new(TopicTable {
            data_version: DataVersion { state_version: 7, counter: 3, timestamp: 1 },
            topic_config_table: topics.into(),
        })
    }

    #[test]
    fn both_forms_read_back_as_what_was_written() {
        assert_eq!(Registration::decode(&some().encode(), false), Ok(some()));
        assert_eq!(Registration::decode(&some().compress(), true), Ok(some()));
        assert_eq!(Registration::decode(b"", true), Ok(Registration::default()));
    }

    #[test]
    fn a_plain_body_of_apaches_broker_is_read() {
        let body = br#"{"filterServerList":[],"topicConfigSerializeWrapper":{"dataVersion":{"counter":2,"stateVersion":0,"timestamp":1700000000000},"mappingDataVersion":{"counter":0,"stateVersion":0,"timestamp":1},"topicConfigTable":{"TBW102":{"attributes":{},"order":false,"perm":7,"readQueueNums":8,"topicFilterType":"SINGLE_TAG","topicName":"TBW102","topicSysFlag":0,"writeQueueNums":8}},"topicQueueMappingDetailMap":{},"topicQueueMappingInfoMap":{"S":{"bname":"b","currIdMap":{0:0},"dirty":false,"epoch":1,"topic":"S","totalQueues":1}}}}"#;
        let read = Registration::decode(body, false).unwrap().topic_config_serialize_wrapper;
        assert_eq!(read.data_version.counter, 2);
        assert_eq!(read.topic_config_table.get("TBW102").map(|topic| topic.perm), Some(7));
    }

    #[test]
    fn the_check_is_that_of_javas_crc32_without_its_sign() {
        assert_eq!(body_crc(b"123456789"), 0xcbf4_3926u32 as i32 & 0x7fff_ffff);
    }

    proptest! {
        #[test]
        fn fuzz_any_body_is_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Registration::decode(&body, false);
            let _ = Registration::decode(&body, true);
        }

        #[test]
        fn fuzz_a_damaged_compressed_body_is_read_or_refused(at in 0usize..200, with: u8) {
            let mut body = some().compress().to_vec();
            let length = body.len();
            body[at % length] ^= with;
            let _ = Registration::decode(&body, true);
            let _ = Registration::decode(&body[..at % length], true);
        }
    }
}
