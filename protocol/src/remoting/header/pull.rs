//! Pulling messages: 11, and 361 of lite consumers.

use crate::remoting::code::request::PULL_MESSAGE;
use crate::remoting::{BadField, Command, Fields};

const COMMIT: i32 = 1;
const SUSPEND: i32 = 2;
const SUBSCRIPTION: i32 = 4;
const CLASS_FILTER: i32 = 8;
const LITE: i32 = 16;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pull<'a> {
    pub group: &'a str,
    pub topic: &'a str,
    pub queue: i32,
    pub offset: i64,
    pub max_messages: i32,
    /// To be committed with the pull.
    pub commit: Option<i64>,
    pub suspend: Suspend,
    /// The subscription, if it is not to be taken from the heartbeat.
    pub subscription: Option<&'a str>,
    pub class_filter: bool,
    pub lite: bool,
    pub sub_version: i64,
    /// TAG if missing.
    pub expression_type: Option<&'a str>,
    pub max_bytes: Option<i32>,
    pub broker: Option<&'a str>,
}

/// Whether, and for how many milliseconds, a pull may be held while there is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Suspend {
    #[default]
    No,
    For(u64),
}

impl<'a> Pull<'a> {
    pub fn read(request: &'a Command) -> Result<Pull<'a>, BadField> {
        let fields = &request.fields;
        let flags: i32 = fields.number("sysFlag")?;
        let commit: i64 = fields.number("commitOffset")?;
        let wait: i64 = fields.number("suspendTimeoutMillis")?;
        let has = |flag| flags & flag != 0;
        Ok(Pull {
            group: fields.text("consumerGroup")?,
            topic: fields.text("topic")?,
            queue: fields.number("queueId")?,
            offset: fields.number("queueOffset")?,
            max_messages: fields.number("maxMsgNums")?,
            commit: has(COMMIT).then_some(commit),
            suspend: if has(SUSPEND) { Suspend::For(wait.max(0).cast_unsigned()) } else { Suspend::No },
            subscription: has(SUBSCRIPTION).then(|| fields.get("subscription").unwrap_or_default()),
            class_filter: has(CLASS_FILTER),
            lite: has(LITE) || request.code != PULL_MESSAGE,
            sub_version: fields.number("subVersion")?,
            expression_type: fields.get("expressionType").filter(|kind| !kind.is_empty()),
            max_bytes: fields.maybe("maxMsgBytes")?,
            broker: fields.get("bname"),
        })
    }

    pub fn write(&self) -> Command {
        let flag = |flag, set| if set { flag } else { 0 };
        let flags = flag(COMMIT, self.commit.is_some())
            | flag(SUSPEND, self.suspend != Suspend::No)
            | flag(SUBSCRIPTION, self.subscription.is_some())
            | flag(CLASS_FILTER, self.class_filter)
            | flag(LITE, self.lite);
        let wait = match self.suspend {
            Suspend::No => 0,
            Suspend::For(wait) => wait,
        };
        let mut request = Command::request(PULL_MESSAGE);
        let fields = &mut request.fields;
        fields.push_text("consumerGroup", self.group);
        fields.push_text("topic", self.topic);
        fields.push_number("queueId", self.queue);
        fields.push_number("queueOffset", self.offset);
        fields.push_number("maxMsgNums", self.max_messages);
        fields.push_number("sysFlag", flags);
        fields.push("commitOffset", self.commit.unwrap_or(0));
        fields.push("suspendTimeoutMillis", wait);
        fields.push_some("subscription", self.subscription);
        fields.push_number("subVersion", self.sub_version);
        fields.push_some("expressionType", self.expression_type);
        fields.push_some("maxMsgBytes", self.max_bytes);
        fields.push_some("bname", self.broker);
        request
    }
}

/// What every answer to a pull says, whatever its code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PullReply {
    pub next: i64,
    pub min: i64,
    pub max: i64,
}

impl PullReply {
    pub fn write(&self, fields: &mut Fields) {
        fields.push_number("suggestWhichBrokerId", 0);
        fields.push_number("nextBeginOffset", self.next);
        fields.push_number("minOffset", self.min);
        fields.push_number("maxOffset", self.max);
    }

    pub fn read(fields: &Fields) -> Result<PullReply, BadField> {
        Ok(PullReply {
            next: fields.number("nextBeginOffset")?,
            min: fields.number("minOffset")?,
            max: fields.number("maxOffset")?,
        })
    }
}
