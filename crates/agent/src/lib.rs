//! The over-the-air update agent for ESP32 devices: no_std, no alloc, sans-IO.
//!
//! Flash is passed by trait; network and time are values: [`Agent::handle`] takes what happened,
//! [`Agent::poll`] says what to do. HTTP itself, MQTT, the clock and the restart belong to the port.
#![no_std]
// Flash is smaller than 4 GiB and usize has at least 32 bits: no offset or length is cut.
#![allow(clippy::cast_possible_truncation)]
// There is no allocator to put a reason of 200 bytes into a box.
#![allow(clippy::result_large_err, clippy::large_enum_variant)]

mod download;
mod event;
pub mod flash;
pub mod otadata;
pub mod partition;
mod phase;
mod record;
mod settings;
mod verify;

pub use event::{Action, ContentRange, Event, FetchId, Message, MessageId, ResponseHead};
pub use phase::{Agent, BootError, Phase};
pub use record::{Attempt, Known, Last, RECORD_BYTES, Record, Stage};
pub use settings::{Check, ResetReason, Settings, URL_MAX_BYTES};
pub use verify::{SlotImage, read_slot};
