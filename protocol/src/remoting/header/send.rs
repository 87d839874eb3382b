//! Sending a message: 10 with long names, 310 and 320 with letters.

use crate::remoting::code::request::{SEND_BATCH_MESSAGE, SEND_MESSAGE, SEND_MESSAGE_V2};
use crate::remoting::{BadField, Command, Fields};

/// What a sender says of his message; texts are slices of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Send<'a> {
    pub group: &'a str,
    pub topic: &'a str,
    /// The topic whose settings a new topic gets.
    pub default_topic: &'a str,
    pub default_queues: i32,
    /// Negative: the broker chooses.
    pub queue: i32,
    pub sys_flag: i32,
    pub born_timestamp: i64,
    pub flag: i32,
    pub properties: &'a str,
    pub reconsume_times: i32,
    pub unit_mode: bool,
    pub max_reconsume_times: Option<i32>,
    pub batch: bool,
    /// Which broker the sender means.
    pub broker: Option<&'a str>,
}

/// The names of the fields, in the order of [`Send`].
type Names = [&'static str; 14];

const LONG: Names = [
    "producerGroup",
    "topic",
    "defaultTopic",
    "defaultTopicQueueNums",
    "queueId",
    "sysFlag",
    "bornTimestamp",
    "flag",
    "properties",
    "reconsumeTimes",
    "unitMode",
    "maxReconsumeTimes",
    "batch",
    "bname",
];
const LETTERS: Names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"];

/// Letters for all codes but the old one, as RocketMQ has it; but whoever sends the old one with letters, or a new one
/// with long names, is understood too.
fn names(code: i32, fields: &Fields) -> &'static Names {
    let usual = if code == SEND_MESSAGE { &LONG } else { &LETTERS };
    let other = if code == SEND_MESSAGE { &LETTERS } else { &LONG };
    let [_, topic, ..] = usual;
    let [_, other_topic, ..] = other;
    if !fields.has(topic) && fields.has(other_topic) { other } else { usual }
}

impl<'a> Send<'a> {
    pub fn read(request: &'a Command) -> Result<Send<'a>, BadField> {
        let fields = &request.fields;
        let &[a, b, c, d, e, f, g, h, i, j, k, l, m, n] = names(request.code, fields);
        Ok(Send {
            group: fields.text(a)?,
            topic: fields.text(b)?,
            default_topic: fields.get(c).unwrap_or_default(),
            default_queues: fields.number_or(d, 0)?,
            queue: fields.number(e)?,
            sys_flag: fields.number(f)?,
            born_timestamp: fields.number(g)?,
            flag: fields.number(h)?,
            properties: fields.get(i).unwrap_or_default(),
            reconsume_times: fields.number_or(j, 0)?,
            unit_mode: fields.is_true(k),
            max_reconsume_times: fields.maybe(l)?,
            batch: fields.is_true(m) || request.code == SEND_BATCH_MESSAGE,
            broker: fields.get(n),
        })
    }

    /// As a request with letters; a batch as 320.
    pub fn write(&self) -> Command {
        let mut request = Command::request(if self.batch { SEND_BATCH_MESSAGE } else { SEND_MESSAGE_V2 });
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = LETTERS;
        let mut fields = Fields::with_capacity(128 + self.properties.len() + self.topic.len(), LETTERS.len());
        fields.push_text(a, self.group);
        fields.push_text(b, self.topic);
        fields.push_text(c, self.default_topic);
        fields.push(d, self.default_queues);
        fields.push(e, self.queue);
        fields.push(f, self.sys_flag);
        fields.push(g, self.born_timestamp);
        fields.push(h, self.flag);
        fields.push_text(i, self.properties);
        fields.push(j, self.reconsume_times);
        fields.push(k, self.unit_mode);
        fields.push_some(l, self.max_reconsume_times);
        fields.push(m, self.batch);
        fields.push_some(n, self.broker);
        request.fields = fields;
        request
    }
}

/// What the sender gets back. Clients need the first three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendReply<'a> {
    /// offsetMsgId; of a batch all of them, joined by commas.
    pub message_id: &'a str,
    pub queue: i32,
    /// Of a batch that of the first.
    pub queue_offset: i64,
    pub transaction_id: Option<&'a str>,
    pub region: Option<&'a str>,
    pub trace_on: bool,
}

impl<'a> SendReply<'a> {
    pub fn write(&self, fields: &mut Fields) {
        fields.push_text("msgId", self.message_id);
        fields.push("queueId", self.queue);
        fields.push("queueOffset", self.queue_offset);
        if let Some(transaction) = self.transaction_id {
            fields.push_text("transactionId", transaction);
        }
        if let Some(region) = self.region {
            fields.push_text("MSG_REGION", region);
        }
        fields.push_text("TRACE_ON", if self.trace_on { "true" } else { "false" });
    }

    pub fn read(fields: &'a Fields) -> Result<SendReply<'a>, BadField> {
        Ok(SendReply {
            message_id: fields.text("msgId")?,
            queue: fields.number("queueId")?,
            queue_offset: fields.number("queueOffset")?,
            transaction_id: fields.get("transactionId"),
            region: fields.get("MSG_REGION"),
            trace_on: fields.is_true("TRACE_ON"),
        })
    }
}
