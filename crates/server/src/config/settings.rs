//! Everything that can be set, and its defaults.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use contract::{ProductName, VersionTopic};
use oidc::TrustedPublisher;
use url::Url;

/// Addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    pub(super) fn loopback() -> Vec<Self> {
        vec![
            Self { address: Ipv4Addr::LOCALHOST.into(), bits: 8 },
            Self { address: Ipv6Addr::LOCALHOST.into(), bits: 128 },
        ]
    }

    /// Whether it is one of them. IPv4 in IPv6 is IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(other)) => {
                (ours.to_bits() ^ other.to_bits()).leading_zeros() >= self.bits
            }
            (IpAddr::V6(ours), IpAddr::V6(other)) => {
                (ours.to_bits() ^ other.to_bits()).leading_zeros() >= self.bits
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "is neither an address nor a network such as \"10.0.0.0/8\"";
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| EXPECTED)?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits: u32 = bits.map_or(Ok(all), str::parse).map_err(|_| EXPECTED)?;
        if bits > all {
            return Err("has more bits than an address");
        }
        // Addresses are compared as what they are: IPv4 in IPv6 is IPv4.
        if let IpAddr::V6(v6) = address
            && let Some(v4) = v6.to_ipv4_mapped()
        {
            let bits = bits.checked_sub(96).ok_or("is IPv4 in IPv6, and has at least 96 bits then")?;
            return Ok(Self { address: v4.into(), bits });
        }
        Ok(Self { address, bits })
    }
}

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
    /// What fits into the buffer of each device's MQTT client: a longer trigger carries a short URL.
    pub device_packet_bytes: u32,
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
    /// How long what happened to an update is kept after its end; 0: for ever.
    pub history_days: u32,
    /// How long an update is kept that is not its device's newest; 0: for ever.
    pub updates_days: u32,
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
    /// `sqlite:PATH`, or `postgres://USER@HOST/DATABASE`, which may carry a password.
    pub url: Secret,
    /// Of PostgreSQL: a file with the password.
    pub password_file: Option<PathBuf>,
    /// Of PostgreSQL: how many connections are opened at most.
    pub max_connections: u32,
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
                device_packet_bytes: 1024,
            },
            fleet: FleetConfig {
                default_product: None,
                admit: Admit::Reported,
                update_timeout_s: 900,
                max_devices: 100_000,
                history_days: 90,
                updates_days: 730,
            },
            store: StoreConfig {
                url: "file:updraft-data/store".to_owned(),
                url_lifetime_s: 300,
                refresh_s: 15,
                short_urls: false,
            },
            database: DatabaseConfig {
                url: Secret::new("sqlite:updraft-data/updraft.db"),
                password_file: None,
                max_connections: 8,
            },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_like_it_and_no_others() {
        let has = |network: &str, address: &str| {
            let network: Network = network.parse().expect("a network");
            network.contains(address.parse().expect("an address"))
        };
        assert!(has("10.0.0.0/8", "10.255.1.2") && !has("10.0.0.0/8", "11.0.0.0"));
        assert!(has("10.1.2.3/8", "10.0.0.1"), "bits beyond the network are passed over");
        assert!(has("192.0.2.7", "192.0.2.7") && !has("192.0.2.7", "192.0.2.6"));
        assert!(has("10.0.0.0/8", "::ffff:10.0.0.1"));
        assert!(has("2001:db8::/32", "2001:db8:1::1") && !has("2001:db8::/32", "2001:db9::1"));
        assert!(has("0.0.0.0/0", "192.0.2.1") && !has("0.0.0.0/0", "::1") && has("::/0", "::1"));
        assert!(has("::ffff:10.0.0.1", "10.0.0.1") && has("::ffff:10.0.0.1", "::ffff:10.0.0.1"));
        assert!(has("::ffff:10.0.0.0/104", "10.255.1.2") && !has("::ffff:10.0.0.0/104", "11.0.0.0"));
        assert!(has("::ffff:0.0.0.0/96", "192.0.2.1") && !has("::ffff:0.0.0.0/96", "::1"));
        let beyond = "::ffff:0.0.0.0/95".parse::<Network>().expect_err("half of it is not IPv4");
        assert!(beyond.contains("at least 96"), "{beyond}");
        for wrong in ["", "10", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "proxy", "10.0.0.0/8/8"]
        {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
