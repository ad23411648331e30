//! The server's own MQTT client, of whichever broker is configured: the embedded one or any MQTT 5 broker.
//!
//! Two connections. One receives, in a session that the broker keeps, and acknowledges a message only after
//! the handler has committed it, so that nothing is lost while the server is down. The other publishes, in a session
//! of its own that starts clean each time: a client that resumes a session of an earlier process does not know which
//! packet ids are taken, and rumqttc then refuses to publish at all.

mod batcher;
mod client;
mod delivery;
mod marker;
mod message;
mod options;
mod packet;
mod publisher;
mod receiver;
mod repeats;

pub use client::{Connection, Mqtt};
pub use delivery::Delivery;
pub use message::{Handler, Message, PAYLOAD_MAX_BYTES};
pub use options::{BrokerAddress, MqttOptions};
pub use options::{Link, LinkState};
pub(crate) use packet::publish_bytes;
pub(crate) use publisher::NOT_AUTHORIZED;
pub use publisher::{NotPublished, Publisher};
