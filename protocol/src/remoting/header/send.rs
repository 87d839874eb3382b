//! Sending a message: 10 with long names, 310 and 320 with letters.

use crate::remoting::code::request::{SEND_BATCH_MESSAGE, SEND_MESSAGE, SEND_MESSAGE_V2};
use crate::remoting::fields::{maybe, parse};
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

/// The values of a request's fields, in the order of [`Send`]; each field is looked at once. Which names it uses is
/// told by the topic's, not by the code: whoever sends the old code with letters, or a new one with long names, is
/// understood too.
fn values(request: &Command) -> (&'static Names, [Option<&str>; 14]) {
    let (mut short, mut long) = ([None; 14], [None; 14]);
    for (name, value) in request.fields.iter() {
        let (place, values) = match name.as_bytes() {
            [letter] => (usize::from(letter.wrapping_sub(b'a')), &mut short),
            _ => (LONG.iter().position(|known| *known == name).unwrap_or(LONG.len()), &mut long),
        };
        if let Some(place) = values.get_mut(place) {
            *place = Some(value);
        }
    }
    let [_, short_topic, ..] = short;
    let [_, long_topic, ..] = long;
    match (short_topic, long_topic) {
        (None, Some(_)) => (&LONG, long),
        (None, None) if request.code == SEND_MESSAGE => (&LONG, long),
        _ => (&LETTERS, short),
    }
}

/// A value that must be there, or the name of what is missing.
fn must<'a>(name: &'static str, value: Option<&'a str>) -> Result<&'a str, BadField> {
    value.ok_or(BadField::Missing(name))
}

impl<'a> Send<'a> {
    pub fn read(request: &'a Command) -> Result<Send<'a>, BadField> {
        let (names, values) = values(request);
        let &[group, topic, _, default_queues, queue, sys_flag, born, flag, _, reconsume, _, most, _, _] =
            names;
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = values;
        let is_true = |value: Option<&str>| value.is_some_and(|value| value.eq_ignore_ascii_case("true"));
        Ok(Send {
            group: must(group, a)?,
            topic: must(topic, b)?,
            default_topic: c.unwrap_or_default(),
            default_queues: maybe(default_queues, d)?.unwrap_or(0),
            queue: parse(queue, must(queue, e)?)?,
            sys_flag: parse(sys_flag, must(sys_flag, f)?)?,
            born_timestamp: parse(born, must(born, g)?)?,
            flag: parse(flag, must(flag, h)?)?,
            properties: i.unwrap_or_default(),
            reconsume_times: maybe(reconsume, j)?.unwrap_or(0),
            unit_mode: is_true(k),
            max_reconsume_times: maybe(most, l)?,
            batch: is_true(m) || request.code == SEND_BATCH_MESSAGE,
            broker: n,
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
        fields.push_number(d, self.default_queues);
        fields.push_number(e, self.queue);
        fields.push_number(f, self.sys_flag);
        fields.push_number(g, self.born_timestamp);
        fields.push_number(h, self.flag);
        fields.push_text(i, self.properties);
        fields.push_number(j, self.reconsume_times);
        fields.push_text(k, if self.unit_mode { "true" } else { "false" });
        fields.push_some(l, self.max_reconsume_times);
        fields.push_text(m, if self.batch { "true" } else { "false" });
        if let Some(broker) = self.broker {
            fields.push_text(n, broker);
        }
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
        let texts = [Some(self.message_id), self.transaction_id, self.region];
        fields.reserve(112 + texts.into_iter().flatten().map(str::len).sum::<usize>(), 6);
        fields.push_text("msgId", self.message_id);
        fields.push_number("queueId", self.queue);
        fields.push_number("queueOffset", self.queue_offset);
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
