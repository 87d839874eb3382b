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
