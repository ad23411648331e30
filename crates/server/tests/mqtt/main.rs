//! The embedded broker and the server's MQTT client, against real programs: mosquitto_pub, mosquitto_sub and Mosquitto.
#![allow(clippy::unwrap_used, missing_docs)]

mod embedded;
mod external;
mod limits;
mod rig;
