//! Updates: what a device is offered, how that is sent, and what the device reports.
//!
//! Uses `devices` (who it is, whether it can be reached) and `releases` (the store, a device's usual product).

mod check;
mod closed;
mod fetched;
mod history;
mod messages;
mod questions;
mod queue;
mod retries;
mod sender;
mod service;
mod silence;
mod urls;
mod withdraw;

pub use check::How;
pub(crate) use messages::Messages;
#[cfg(test)]
pub(crate) use sender::{Cursor, Done, Memory};
pub use service::Updates;
pub(crate) use silence::SilenceClock;
pub(crate) use urls::Urls;
