//! Everything that can be set, and its defaults.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use contract::{ProductName, VersionTopic};
use oidc::TrustedPublisher;
use url::Url;

use super::network::Network;

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[http]`
    pub http: HttpConfig,
    /// `[mqtt]`
    pub mqtt: MqttConfig,
    /// `[fleet]`
    pub fleet: FleetConfig,
    /// `[store]`
    pub store: StoreConfig,
    /// `[database]`
    pub database: DatabaseConfig,
    /// `[[trusted_publisher]]`
    pub trusted_publishers: Vec<TrustedPublisher>,
}

/// `[http]`
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Where the API and the dashboard listen.
    pub listen: SocketAddr,
    /// As devices and browsers reach it; `None`: `http://` and the address that was bound.
    pub public_url: Option<Url>,
    /// Whose word is taken for whom they ask (`X-Forwarded-For`).
    pub trusted_proxies: Vec<Network>,
}

/// `[mqtt]`
#[derive(Debug, Clone)]
pub struct MqttConfig {
    /// Which broker.
    pub url: BrokerConfig,
    /// Where the embedded broker listens.
    pub listen: SocketAddr,
    /// On an external broker, a device without presence is offline after this much silence.
    pub offline_after_s: u32,
    /// Where devices report what they run.
    pub version_topic: VersionTopic,
}

/// `mqtt.url`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerConfig {
    /// The one in this process.
    Embedded,
    /// Another; the URL may carry a password.
    External(Secret),
}

/// `[fleet]`
#[derive(Debug, Clone)]
pub struct FleetConfig {
    /// For devices that report a bare version.
    pub default_product: Option<ProductName>,
    /// Who becomes known on an external broker.
    pub admit: Admit,
    /// Silence after which an update has timed out.
    pub update_timeout_s: u32,
    /// Devices that may become known by their report.
    pub max_devices: u32,
}

/// `fleet.admit`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admit {
    /// Who sends a valid report.
    Reported,
    /// Who was registered.
    Registered,
}

/// `[store]`
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// `file:PATH` or `s3://bucket?…`.
    pub url: String,
    /// How long a signed URL holds.
    pub url_lifetime_s: u32,
    /// How soon the dashboard shows a change made by another program.
    pub refresh_s: u32,
    /// Send `{public_url}/d/{token}` instead of the signed URL.
    pub short_urls: bool,
}

/// `[database]`
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// `sqlite:PATH`; may carry a password where it is another database's.
    pub url: Secret,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps the text from being printed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for whoever needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            http: HttpConfig {
                listen: (Ipv4Addr::LOCALHOST, 8080).into(),
                public_url: None,
                trusted_proxies: Network::loopback(),
            },
            mqtt: MqttConfig {
                url: BrokerConfig::Embedded,
                listen: (Ipv4Addr::LOCALHOST, 1883).into(),
                offline_after_s: 120,
                version_topic: VersionTopic::default(),
            },
            fleet: FleetConfig {
                default_product: None,
                admit: Admit::Reported,
                update_timeout_s: 900,
                max_devices: 100_000,
            },
            store: StoreConfig {
                url: "file:updraft-data/store".to_owned(),
                url_lifetime_s: 300,
                refresh_s: 15,
                short_urls: false,
            },
            database: DatabaseConfig { url: Secret::new("sqlite:updraft-data/updraft.db") },
            trusted_publishers: Vec::new(),
        }
    }
}

impl Config {
    /// Whether the broker is the one in this process.
    pub fn embedded_broker(&self) -> bool {
        self.mqtt.url == BrokerConfig::Embedded
    }
}
