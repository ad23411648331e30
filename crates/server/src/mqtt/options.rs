//! Which broker, and as whom.

use broker::Credentials;
use contract::VersionTopic;
use url::Url;

/// Messages that a broker may have sent us and not yet seen acknowledged.
pub(super) const RECEIVE_MAXIMUM: u16 = 2000;

/// Which broker.
#[derive(Debug, Clone)]
pub enum BrokerAddress {
    /// The one in this process.
    Embedded {
        /// Where it listens.
        address: std::net::SocketAddr,
        /// What it gave us.
        credentials: Credentials,
    },
    /// `mqtt[s]://user:password@host:port`; 1883 and 8883 if no port is named.
    External(Url),
}

/// How to connect.
#[derive(Debug, Clone)]
pub struct MqttOptions {
    /// Which broker.
    pub broker: BrokerAddress,
    /// Where devices report their version.
    pub version_topic: VersionTopic,
    /// Stable over restarts, and no other client's: the broker keeps our messages under it.
    pub client_id: String,
    /// Whether the broker keeps messages for us while we are away. On an external broker: yes.
    pub persistent: bool,
}
