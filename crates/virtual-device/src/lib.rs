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

pub use bootloader::Rollback;
pub use device::{provision, run};
pub use notice::{Notice, Observer};
pub use options::{MoveSwitch, Options, Pace, PowerSwitch};
