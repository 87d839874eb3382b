//! What is known of topics, apart from what is in them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Malformed;
use super::json;
use super::route::{PERM_READ, PERM_WRITE};

/// How far a broker's list of topics has come. Ours put the epoch of the virtual broker into `state_version`.
///
/// The order of the fields is their weight: a version is newer if it is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataVersion {
    pub state_version: i64,
    pub counter: i64,
    pub timestamp: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfig {
    pub attributes: BTreeMap<String, String>,
    pub order: bool,
    pub perm: i32,
    pub read_queue_nums: i32,
    pub topic_filter_type: String,
    pub topic_name: String,
    pub topic_sys_flag: i32,
    pub write_queue_nums: i32,
}

impl Default for TopicConfig {
    fn default() -> TopicConfig {
        TopicConfig {
            attributes: BTreeMap::new(),
            order: false,
            perm: PERM_READ | PERM_WRITE,
            read_queue_nums: 16,
            topic_filter_type: "SINGLE_TAG".into(),
            topic_name: String::new(),
            topic_sys_flag: 0,
            write_queue_nums: 16,
        }
    }
}

impl TopicConfig {
    /// The form in compressed registrations: words, parted by spaces. Flags and order are not in it.
    pub fn from_line(line: &str) -> Result<TopicConfig, Malformed> {
        let wrong = || {
            Malformed(format!("'{}' does not describe a topic", line.chars().take(100).collect::<String>()))
        };
        let mut words = line.splitn(6, ' ');
        let mut word = || words.next().ok_or_else(wrong);
        let topic_name = word()?.to_string();
        let number = |word: &str| word.parse::<i32>().map_err(|_| wrong());
        Ok(TopicConfig {
            topic_name,
            read_queue_nums: number(word()?)?,
            write_queue_nums: number(word()?)?,
            perm: number(word()?)?,
            topic_filter_type: word()?.into(),
            attributes: match word() {
                Ok(attributes) => json::read(attributes.as_bytes())?,
                Err(_) => BTreeMap::new(),
            },
            ..TopicConfig::default()
        })
    }

    pub fn to_line(&self) -> String {
        let TopicConfig { topic_name, read_queue_nums, write_queue_nums, perm, topic_filter_type, .. } = self;
        let attributes = json::write(&self.attributes);
        let attributes = String::from_utf8_lossy(&attributes);
        format!("{topic_name} {read_queue_nums} {write_queue_nums} {perm} {topic_filter_type} {attributes}")
    }
}

/// All topics of a broker: the answer to code 21, and the body of a registration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicTable {
    pub data_version: DataVersion,
    pub topic_config_table: BTreeMap<String, TopicConfig>,
}

/// Names of topics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicList {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_addr: Option<String>,
    pub topic_list: Vec<String>,
}

/// Keys and values, as codes 28, 219 and a registration answer them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KvTable {
    pub table: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_as_what_was_written() {
        let topic = TopicConfig {
            topic_name: "T".into(),
            attributes: BTreeMap::from([("message.type".into(), "FIFO and more".into())]),
            ..TopicConfig::default()
        };
        assert_eq!(TopicConfig::from_line(&topic.to_line()), Ok(topic));
        let old = TopicConfig::from_line("T 8 4 6 SINGLE_TAG").unwrap();
        assert_eq!((old.read_queue_nums, old.write_queue_nums, old.perm), (8, 4, 6));
        assert!(TopicConfig::from_line("T 8 x 6 SINGLE_TAG").is_err());
        assert!(TopicConfig::from_line("T 8").is_err());
    }

    #[test]
    fn an_epoch_weighs_more_than_a_counter() {
        let old = DataVersion { state_version: 1, counter: 100, timestamp: 100 };
        assert!(DataVersion { state_version: 2, counter: 1, timestamp: 1 } > old);
    }
}
