//! The over-the-air update agent for ESP32 devices: no_std, no alloc, sans-IO.
//!
//! Flash is passed by trait; network and time are values: [`Agent::handle`] takes what happened,
//! [`Agent::poll`] says what to do. HTTP itself, MQTT, the clock and the restart belong to the port.
#![no_std]
// Flash is smaller than 4 GiB and usize has at least 32 bits: no offset or length is cut.
#![allow(clippy::cast_possible_truncation)]
// There is no allocator to put a reason of 200 bytes into a box.
#![allow(clippy::result_large_err, clippy::large_enum_variant)]

#[cfg(test)]
extern crate std;

mod attempt;
mod bookmark;
mod bytes;
mod checks;
mod connection;
mod download;
mod event;
pub mod flash;
pub mod http;
mod md5;
pub mod otadata;
mod outbox;
pub mod partition;
mod phase;
mod port;
mod record;
mod refusal;
mod retained;
mod sentences;
mod timers;
mod trust;
mod verify;

pub use checks::Traits;
pub use connection::{CONNECTION_MAX_BYTES, Change, Connection, Connections, InvalidConnection, TRIAL_BOOTS};
pub use event::{Action, ContentRange, Event, FetchId, Message, MessageId, Range, ResponseHead};
pub use phase::{Agent, BootError, Phase, UrlLoss};
pub use record::{Attempt, Failures, KEPT, Keeper, Known, Last, Place, RECORD_BYTES, Record, Stage, Trusted};
pub use retained::RETAINED_BYTES;

pub use port::{Check, Encryption, EraseUnit, Hardware, NotKept, Port, ResetReason, Settings, URL_MAX_BYTES};
pub use verify::{SlotImage, read_slot};
