//! The words between Updraft and its devices: names, versions, topics and payloads.
//!
//! Everything a device, a bucket or a person sends is parsed here, at the door, into types that cannot hold
//! an invalid value. Nothing here allocates, reads a clock or touches a network, so the server and the
//! firmware share the very same definitions.
#![no_std]

mod code;
mod name;
mod payload;
mod report;
mod topic;
mod version;

pub use code::Code;
pub use name::{ChannelName, DeviceId, InvalidName, ProductName};
pub use payload::{
    Control, DEFERRED_MAX_S, Deferred, InvalidPayload, Outcome, Phase, Presence, Progress, REASON_MAX_BYTES,
    Reason, Request, Status, StatusMessage, trimmed,
};
pub use report::{Lack, LastOutcome, REPORT_MAX_BYTES, Report, Sha256};
pub use topic::{
    DEFAULT_VERSION_TOPIC, InvalidTemplate, TOPIC_MAX_BYTES, Topic, TopicKind, TopicString, VersionTopic,
    filter, is_below_device, is_below_devices,
};
pub use version::{InvalidVersion, VERSION_MAX_BYTES, Version};
