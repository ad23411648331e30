//! Which broker, and as whom; the options of one connection, and how it is.

use std::future::{Future, ready};
use std::pin::Pin;

use anyhow::{Context, bail};
use broker::Credentials;
use chrono::{DateTime, Utc};
use contract::VersionTopic;
use rumqttc::{
    Broker, MqttOptions as Connection, NetworkOptions, PersistedAckMode, PersistedSession, SessionStore,
    SessionStoreError, SessionStoreKey, Transport,
};
use tokio::sync::watch;
use url::{Url, form_urlencoded};

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
}

const KEEP_ALIVE_S: u16 = 30;
/// Larger than any message that is read; what is longer is refused by the broker or ends the connection.
const MAX_PACKET_BYTES: u32 = 64 * 1024;

/// Messages of ours on their way at a time. Room for each is set aside at the start, at 65,535 several megabytes.
pub(super) const OUTGOING_MAXIMUM: u16 = 1024;

/// The options of a connection with this client id. Errors never name the password.
pub(super) fn connection(broker: &BrokerAddress, client_id: &str) -> anyhow::Result<Connection> {
    let mut options = match broker {
        BrokerAddress::Embedded { address, credentials } => {
            let mut options = Connection::new(client_id, Broker::tcp(reachable(*address), address.port()));
            options.set_credentials(&credentials.user, credentials.password.clone());
            options
        }
        BrokerAddress::External(url) => external(url, client_id)?,
    };
    options.set_keep_alive(KEEP_ALIVE_S);
    options.set_max_packet_size(Some(MAX_PACKET_BYTES));
    options.set_receive_maximum(Some(RECEIVE_MAXIMUM));
    options.set_outgoing_inflight_upper_limit(OUTGOING_MAXIMUM);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    Ok(options)
}

fn external(url: &Url, client_id: &str) -> anyhow::Result<Connection> {
    let secure = match url.scheme() {
        "mqtt" => false,
        "mqtts" => true,
        other => {
            bail!(
                "mqtt.url begins with {other:?}; it must be \"embedded\", or begin with mqtt:// or mqtts://"
            )
        }
    };
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.context("mqtt.url names no host; write mqtt://host:1883")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port().unwrap_or(if secure { 8883 } else { 1883 });
    let mut options = Connection::new(client_id, Broker::tcp(host, port));
    if secure {
        let transport = Transport::try_tls_with_default_config()
            .context("mqtt.url is mqtts://, but the system's root certificates cannot be loaded")?;
        options.set_transport(transport);
    }
    match (decoded(url.username()), url.password().map(decoded)) {
        (user, Some(password)) => {
            options.set_credentials(user, password);
        }
        (user, None) if !user.is_empty() => {
            options.set_username(user);
        }
        _ => {}
    }
    Ok(options)
}

/// Undoes the percent-encoding of a URL's user name or password.
fn decoded(text: &str) -> String {
    // A form decodes the same, but for '+' and '&', which stand for themselves here.
    let form = format!("={}", text.replace('+', "%2B").replace('&', "%26"));
    form_urlencoded::parse(form.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// An unspecified address is where to listen, not where to connect.
fn reachable(address: std::net::SocketAddr) -> String {
    match address.ip() {
        ip if !ip.is_unspecified() => ip.to_string(),
        std::net::IpAddr::V4(_) => "127.0.0.1".to_owned(),
        std::net::IpAddr::V6(_) => "::1".to_owned(),
    }
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, SessionStoreError>> + Send + 'a>>;

#[derive(Debug)]
pub(super) struct NothingInFlight {
    pub(super) expiry_s: u32,
}

impl SessionStore for NothingInFlight {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> Answer<'a, Option<PersistedSession>> {
        Box::pin(ready(Ok(Some(PersistedSession {
            format_version: 1,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: Some(self.expiry_s),
            outgoing_inflight_upper_limit: Some(OUTGOING_MAXIMUM),
            ack_mode: PersistedAckMode::Manual,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        }))))
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> Answer<'a, ()> {
        Box::pin(ready(Ok(())))
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> Answer<'a, ()> {
        Box::pin(ready(Ok(())))
    }
}

/// How the connection to the broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// Not connected.
    Down {
        /// Since when.
        since: DateTime<Utc>,
        /// Why, in words; never with a password.
        reason: String,
    },
    /// Connected; what the broker kept for us is being handled.
    CatchingUp,
    /// Everything sent before we connected has been handled.
    Up,
}

/// The state of the connection, to be looked at and waited for.
pub type Link = watch::Receiver<LinkState>;

/// Where changes of it are written; not connected at first.
pub(super) fn link() -> (watch::Sender<LinkState>, Link) {
    watch::channel(LinkState::Down { since: Utc::now(), reason: "not connected yet".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_decoded_and_ports_have_defaults() {
        let address = |text: &str| BrokerAddress::External(text.parse().expect("a URL"));
        let options =
            connection(&address("mqtt://ops%40x:p%2Fa+s&s%3D%25@broker.example"), "c").expect("valid");
        assert_eq!(options.broker().tcp_address(), Some(("broker.example", 1883)));
        assert_eq!(decoded("p%2Fa+s&s%3D%25"), "p/a+s&s=%");
        let options = connection(&address("mqtt://[::1]:2883"), "c").expect("valid");
        assert_eq!(options.broker().tcp_address(), Some(("::1", 2883)));
    }

    #[test]
    fn no_message_waits_for_an_acknowledgement() {
        let address = BrokerAddress::External("mqtt://broker.example".parse().expect("a URL"));
        let options = connection(&address, "c").expect("valid");
        let network = format!("{:?}", options.network_options());
        assert!(network.contains("tcp_nodelay: true"), "{network}");
    }

    #[test]
    fn other_schemes_are_refused_in_words() {
        let address = BrokerAddress::External("http://u:secret@h".parse().expect("a URL"));
        let error = connection(&address, "c").expect_err("refused").to_string();
        assert!(error.contains("mqtt://") && !error.contains("secret"), "{error}");
    }
}
