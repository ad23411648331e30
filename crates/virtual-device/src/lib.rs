//! An ESP32 on paper: NOR flash in a file, ESP-IDF's bootloader rules, the real agent.
// Flash is smaller than 4 GiB, and a table has at most 16 slots: no offset, length or number is cut.
#![allow(clippy::cast_possible_truncation)]

pub mod bootloader;
pub mod device;
pub mod flash;
pub mod layout;
pub mod net;
mod notice;
mod options;
mod session;

/// For what other crates await: its future is in a box, or each of them would compile all of it anew.
pub(crate) use async_recursion::async_recursion as boxed;

pub use bootloader::Rollback;
pub use device::{provision, run};
pub use notice::{Notice, Observer};
pub use options::{MoveSwitch, NotNow, Options, Pace, PowerSwitch};
