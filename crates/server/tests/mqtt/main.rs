//! The server's MQTT client, on the embedded broker and on a real Mosquitto.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code)] // Two crates' tests share it, and none uses all of it.
#[path = "../../../broker/tests/broker/device.rs"]
mod device;
mod embedded;
mod external;
mod rig;
