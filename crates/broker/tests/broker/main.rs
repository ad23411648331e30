//! The embedded broker, against the clients that people have and against raw bytes.
#![allow(clippy::unwrap_used, missing_docs)]

mod delivery;
mod device;
mod flood;
mod limits;
mod protocol;
mod raw;
mod rig;
mod rights;
mod sessions;
mod tokens;
mod waiting;

const VERSIONS: [[&str; 2]; 2] = [["-V", "mqttv311"], ["-V", "mqttv5"]];
