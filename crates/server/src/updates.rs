//! Updates: what a device is offered, how that is sent, and what the device reports.
//!
//! Uses `devices` (who it is, whether it can be reached) and `releases` (the store, a device's usual product).

mod check;
mod closed;
mod fetched;
mod history;
mod later;
mod messages;
mod questions;
mod queue;
mod retries;
pub(crate) mod rollouts;
mod sender;
mod service;
mod silence;
mod sketch;
mod target;
mod urls;
mod withdraw;

pub use check::How;
pub use history::Fetch;
pub(crate) use messages::Messages;
pub use rollouts::Rollouts;
#[cfg(test)]
pub(crate) use sender::{Cursor, Done, Memory};
pub use service::Updates;
pub(crate) use silence::SilenceClock;
pub(crate) use sketch::Sketch;
pub(crate) use urls::Urls;
