//! A subscription group's configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::codec::{Corrupt, Reader, Writer};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub name: Arc<str>,
    pub consume: bool,
    pub from_min: bool,
    pub broadcast: bool,
    pub orderly: bool,
    pub retry_queues: u16,
    /// A message that failed more often goes to the dead letter topic.
    pub retry_max: i32,
    /// RocketMQ's `groupRetryPolicy` and `subscriptionDataSet`, kept as the JSON they came in.
    pub retry_policy: Option<Box<str>>,
    pub subscriptions: Option<Box<str>>,
    pub broker_id: i64,
    pub slow_broker_id: i64,
    /// Whether members are told at once that the group has changed.
    pub notify: bool,
    pub sys_flag: u32,
    pub consume_timeout_minutes: u32,
    pub attributes: BTreeMap<String, String>,
}

impl Group {
    /// A group as RocketMQ creates it by itself.
    pub fn new(name: &str) -> Group {
        Group {
            name: name.into(),
            consume: true,
            from_min: true,
            broadcast: true,
            orderly: false,
            retry_queues: 1,
            retry_max: 16,
            retry_policy: None,
            subscriptions: None,
            broker_id: 0,
            slow_broker_id: 1,
            notify: true,
            sys_flag: 0,
            consume_timeout_minutes: 15,
            attributes: BTreeMap::new(),
        }
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        out.text(&self.name);
        out.flag(self.consume);
        out.flag(self.from_min);
        out.flag(self.broadcast);
        out.flag(self.orderly);
        out.number(u64::from(self.retry_queues));
        out.signed(i64::from(self.retry_max));
        out.optional(self.retry_policy.as_deref());
        out.optional(self.subscriptions.as_deref());
        out.signed(self.broker_id);
        out.signed(self.slow_broker_id);
        out.flag(self.notify);
        out.number(u64::from(self.sys_flag));
        out.number(u64::from(self.consume_timeout_minutes));
        out.number(self.attributes.len() as u64);
        for (key, value) in &self.attributes {
            out.text(key);
            out.text(value);
        }
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Group, Corrupt> {
        let mut group = Group {
            name: from.text()?.into(),
            consume: from.flag()?,
            from_min: from.flag()?,
            broadcast: from.flag()?,
            orderly: from.flag()?,
            retry_queues: from.fits("a number of retry queues")?,
            retry_max: i32::try_from(from.signed()?).map_err(|_| Corrupt("retries out of range".into()))?,
            retry_policy: from.optional()?.map(Into::into),
            subscriptions: from.optional()?.map(Into::into),
            broker_id: from.signed()?,
            slow_broker_id: from.signed()?,
            notify: from.flag()?,
            sys_flag: from.fits("a group's flags")?,
            consume_timeout_minutes: from.fits("a consume time-out")?,
            attributes: BTreeMap::new(),
        };
        for _ in 0..from.number()? {
            group.attributes.insert(from.text()?.into(), from.text()?.into());
        }
        Ok(group)
    }
}
