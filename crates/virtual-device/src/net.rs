//! What carries bytes to and from a device: MQTT to its broker, HTTP to whatever a URL leads to.

pub mod http;
pub(crate) mod mqtt;
