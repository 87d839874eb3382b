//! What an operator may change while the broker runs, under the names that RocketMQ's users know.

use std::fmt;
use std::time::Duration;

/// A value of a setting: how it is read, and how it is shown.
trait Value: Sized {
    fn read(text: &str) -> Result<Self, String>;
    fn show(&self) -> String;
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr => $key:literal,)+) => {
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Settings { $($(#[doc = $doc])+ pub $field: $type,)+ }

        impl Default for Settings {
            fn default() -> Settings {
                Settings { $($field: $default,)+ }
            }
        }

        impl Settings {
            /// Changes one setting; the error names the key and what it takes.
            pub fn set(&mut self, key: &str, value: &str) -> Result<(), WrongSetting> {
                match key {
                    $($key => self.$field = <$type as Value>::read(value.trim())
                        .map_err(|why| WrongSetting::value(key, value, why))?,)+
                    _ => return Err(WrongSetting::unknown(key)),
                }
                Ok(())
            }

            /// Every key, and what it is for.
            pub const ABOUT: &[(&'static str, &'static str)] = &[$(($key, concat!($($doc, "\n"),+)),)+];

            /// Every key and its value, in the same order.
            pub fn list(&self) -> Vec<(&'static str, String)> {
                vec![$(($key, self.$field.show()),)+]
            }
        }
    };
}

settings! {
    /// Whether a send to a topic that does not exist makes it.
    auto_create_topic: bool = true => "autoCreateTopicEnable",
    /// Whether a heartbeat of a group that does not exist makes it.
    auto_create_group: bool = true => "autoCreateSubscriptionGroup",
    /// The most queues of a topic that a send makes.
    default_queues: u16 = 8 => "defaultTopicQueueNums",
    /// What clients may do with this virtual broker: 4 read, 2 write. Without 2, routes send no new messages here.
    permission: u8 = 6 => "brokerPermission",
    /// When a sender is answered, unless its topic's attribute `durability` (`sync`, `async`) says otherwise: SYNC_FLUSH,
    /// when the message is on enough disks, or ASYNC_FLUSH, when it is on its way there.
    flush: Flush = Flush::Sync => "flushDiskType",
    /// A sender whose message is not on enough disks after so long, in ms, is told so: FLUSH_DISK_TIMEOUT. The message is on
    /// its way nevertheless.
    flush_wait: Millis = Millis(2_500) => "syncFlushTimeout",
    /// Messages are refused while the oldest that was taken waits for the disk for longer, in ms. By default not before
    /// senders are told that theirs takes long: a disk that stands still for less is a late answer, and no error.
    send_wait: Millis = Millis(2_500) => "waitTimeMillsInSendQueue",
    /// The largest body of a message or batch, in bytes.
    max_message: usize = 4 << 20 => "maxMessageSize",
    /// What a client may want to wait until a message is delivered, level by level.
    delay_levels: DelayLevels = DelayLevels::default() => "messageDelayLevel",
    /// How long a half message is left alone before its producer is asked, in ms.
    transaction_timeout: Millis = Millis(6_000) => "transactionTimeOut",
    /// How long between two questions to a producer, in ms.
    transaction_interval: Millis = Millis(30_000) => "transactionCheckInterval",
    /// How often a producer is asked before a half message is given up.
    transaction_checks: u16 = 15 => "transactionCheckMax",
    /// How many half messages may wait for their decision.
    transaction_pending: usize = 200_000 => "transactionPendingMax",
    /// Whether transactional messages are refused.
    transaction_refused: bool = false => "rejectTransactionMessage",
    /// The most messages of one pull.
    pull_messages: u32 = 32 => "maxTransferCountOnMessageInMemory",
    /// About the most bytes of one pull.
    pull_bytes: usize = 256 << 10 => "maxTransferBytesOnMessageInMemory",
    /// Whether members of a group are told of changes at once.
    notify_members: bool = true => "notifyConsumerIdsChangedEnable",
    /// The longest that committed offsets wait to be appended together, in ms.
    offset_delay: Millis = Millis(100) => "offsetCommitDelayMillis",
    /// Hours that messages are kept.
    retention_hours: u32 = 72 => "fileReservedTime",
    /// Bytes that messages may take; 0 is without bound.
    retention_bytes: u64 = 0 => "retentionBytes",
    /// A link of the log of which less than this percentage is needed is replaced by a copy of that; 0: none ever is.
    sparse_percent: u16 = 30 => "sparseLinkPercent",
    /// Added to every message as MSG_REGION.
    region: String = "DefaultRegion".into() => "regionId",
    /// Tells clients whether to write traces.
    trace_on: bool = true => "traceOn",
    /// Whether the topic for traces is there from the start; otherwise the first trace makes it.
    trace_topic: bool = false => "traceTopicEnable",
    /// The most topics of this virtual broker.
    max_topics: usize = 500_000 => "maxTopics",
    /// The most subscription groups of this virtual broker.
    max_groups: usize = 500_000 => "maxGroups",
}

impl Settings {
    /// What name servers are told differently if it changes.
    pub fn registered(&self) -> (u8, bool) {
        (self.permission, self.auto_create_topic)
    }
}

/// Why a setting was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WrongSetting(String);

impl WrongSetting {
    fn unknown(key: &str) -> WrongSetting {
        WrongSetting(format!("there is no setting '{key}' that can be changed; getBrokerConfig lists them"))
    }

    fn value(key: &str, value: &str, why: String) -> WrongSetting {
        let shown: String = value.chars().take(80).collect();
        WrongSetting(format!("{key} cannot be '{shown}': {why}"))
    }
}

/// A time in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u32);

impl Millis {
    pub fn duration(self) -> Duration {
        Duration::from_millis(u64::from(self.0))
    }
}

/// What the answer to a sender means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Enough bookies have the message on disk.
    Sync,
    /// The message is on its way there. It is lost if this broker dies within the next 100 ms.
    Async,
}

impl Value for Flush {
    fn read(text: &str) -> Result<Flush, String> {
        match text {
            "SYNC_FLUSH" => Ok(Flush::Sync),
            "ASYNC_FLUSH" => Ok(Flush::Async),
            _ => Err("it takes SYNC_FLUSH or ASYNC_FLUSH".into()),
        }
    }

    fn show(&self) -> String {
        match self {
            Flush::Sync => "SYNC_FLUSH".into(),
            Flush::Async => "ASYNC_FLUSH".into(),
        }
    }
}

/// Milliseconds by level; the first level is 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayLevels {
    text: String,
    millis: Vec<i64>,
}

impl DelayLevels {
    /// The most levels that can be configured.
    pub const MOST: usize = 64;

    pub fn count(&self) -> u16 {
        self.millis.len() as u16
    }

    /// The delay of a level: a level beyond the last counts as the last.
    pub fn delay(&self, level: u16) -> Option<i64> {
        let index = usize::from(level.checked_sub(1)?).min(self.millis.len().checked_sub(1)?);
        self.millis.get(index).copied()
    }
}

impl Default for DelayLevels {
    fn default() -> DelayLevels {
        let text = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";
        let minutes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 60, 120].map(|m| m * 60_000);
        let millis = [1_000, 5_000, 10_000, 30_000].into_iter().chain(minutes).collect();
        DelayLevels { text: text.into(), millis }
    }
}

impl Value for DelayLevels {
    fn read(text: &str) -> Result<DelayLevels, String> {
        let millis: Vec<i64> = text.split_ascii_whitespace().map(delay).collect::<Result<_, _>>()?;
        if millis.is_empty() || millis.len() > DelayLevels::MOST {
            return Err(format!("1 to {} delays are taken, as in '1s 5s 1m'", DelayLevels::MOST));
        }
        Ok(DelayLevels { text: text.into(), millis })
    }

    fn show(&self) -> String {
        self.text.clone()
    }
}

fn delay(part: &str) -> Result<i64, String> {
    let wrong = || format!("'{part}' is not a delay: a whole number and s, m, h or d, as in '30s'");
    let unit = part.chars().last().ok_or_else(wrong)?;
    let number: i64 = part
        .strip_suffix(unit)
        .and_then(|digits| digits.parse().ok())
        .filter(|n| *n >= 0)
        .ok_or_else(wrong)?;
    let unit = match unit {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).filter(|ms| *ms <= 3_650 * 86_400_000).ok_or_else(|| "ten years at most".into())
}

impl Value for bool {
    fn read(text: &str) -> Result<bool, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("it takes true or false".into()),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    fn read(text: &str) -> Result<String, String> {
        if text.len() > 1_000 || text.contains(|c: char| c.is_control()) {
            return Err("it takes a text of up to 1,000 characters".into());
        }
        Ok(text.into())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl Value for Millis {
    fn read(text: &str) -> Result<Millis, String> {
        text.parse().map(Millis).map_err(|_| "it takes a number of milliseconds".into())
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

macro_rules! numbers {
    ($($type:ty),+) => {$(
        impl Value for $type {
            fn read(text: &str) -> Result<$type, String> {
                text.parse().map_err(|_| format!("it takes a whole number from 0 to {}", <$type>::MAX))
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )+};
}
numbers!(u8, u16, u32, u64, usize);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_can_be_set_to_what_it_shows() {
        let mut settings = Settings::default();
        for (key, value) in Settings::default().list() {
            assert_eq!(settings.set(key, &value), Ok(()), "{key}");
        }
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn a_wrong_setting_says_what_it_takes() {
        let mut settings = Settings::default();
        let mut wrong = |key, value| settings.set(key, value).map_err(|e| e.to_string()).unwrap_err();
        assert!(wrong("noSuchKey", "1").contains("noSuchKey"));
        assert!(wrong("autoCreateTopicEnable", "maybe").contains("true or false"));
        assert!(wrong("messageDelayLevel", "1s 5x").contains("5x"));
        assert!(wrong("messageDelayLevel", " ").contains("1 to 64"));
        assert!(wrong("messageDelayLevel", "9999999999999999s").contains("ten years"));
        assert!(wrong("messageDelayLevel", "1€").contains("1€"));
    }

    #[test]
    fn the_eighteen_levels_are_rocketmqs() {
        let levels = DelayLevels::default();
        assert_eq!(DelayLevels::read(&levels.show()), Ok(levels.clone()));
        assert_eq!(levels.count(), 18);
        assert_eq!(levels.delay(0), None);
        assert_eq!(levels.delay(3), Some(10_000));
        assert_eq!(levels.delay(18), Some(7_200_000));
        assert_eq!(levels.delay(40), Some(7_200_000), "a level beyond the last counts as the last");
    }
}
