//! The server's MQTT client, on the embedded broker and on a real Mosquitto.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../../broker/tests/broker/device.rs"]
mod device;
mod embedded;
mod external;
mod mosquitto;
mod redelivery;
mod rig;
mod rights;
