//! The keys: how each is read, and what it refuses.

use std::fmt::Display;
use std::net::SocketAddr;
use std::str::FromStr;

use toml::Value;
use url::Url;

use super::settings::{Admit, BrokerConfig, Config, Network, Secret};

/// The longest `http.public_url`, in bytes, so that `{public_url}/d/{token}` stays under 128.
pub const PUBLIC_URL_MAX_BYTES: usize = 88;
/// Maximum number of networks in a list.
const NETWORKS_MAX: usize = 64;

/// One key of one section. `set` answers with what is wrong, to follow the key's name in a sentence.
pub(super) struct Key {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    pub(super) set: fn(&mut Config, &Value) -> Result<(), String>,
}

macro_rules! key {
    ($section:ident.$key:ident, $read:expr) => {
        Key {
            section: stringify!($section),
            name: stringify!($key),
            set: |config, value| {
                config.$section.$key = $read(value)?;
                Ok(())
            },
        }
    };
}

pub(super) const KEYS: &[Key] = &[
    key!(http.listen, address),
    key!(http.public_url, |value| public_url(value).map(Some)),
    key!(http.trusted_proxies, networks),
    key!(mqtt.url, broker),
    key!(mqtt.listen, address),
    key!(mqtt.offline_after_s, |value| number(value, 1, 604_800)),
    key!(mqtt.version_topic, name),
    key!(mqtt.device_packet_bytes, |value| number(value, 128, 1_048_576)),
    key!(fleet.default_product, |value| name(value).map(Some)),
    key!(fleet.admit, admit),
    key!(fleet.update_timeout_s, |value| number(value, 5, 604_800)),
    key!(fleet.max_devices, |value| number(value, 1, 10_000_000)),
    key!(fleet.history_days, |value| number(value, 0, 36_500)),
    key!(fleet.updates_days, |value| number(value, 0, 36_500)),
    key!(store.url, store_url),
    key!(store.url_lifetime_s, |value| number(value, 60, 3600)),
    key!(store.refresh_s, |value| number(value, 1, 86_400)),
    key!(store.short_urls, flag),
    key!(database.url, database_url),
    key!(database.password_file, |value| text(value).map(|path| Some(path.into()))),
    key!(database.max_connections, |value| number(value, 2, 200)),
];

/// A text of the contract, which says itself what it must be.
pub(super) fn name<T: FromStr<Err: Display>>(value: &Value) -> Result<T, String> {
    text(value)?.parse().map_err(|error| format!("is wrong: {error}"))
}

pub(super) fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| "must be a text in quotes".to_owned())
}

/// A whole number; the environment gives it as text.
fn number(value: &Value, lowest: u32, highest: u32) -> Result<u32, String> {
    let number = match value {
        Value::Integer(number) => Some(*number),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| (lowest..=highest).contains(number))
        .ok_or_else(|| format!("must be a whole number from {lowest} to {highest}"))
}

pub(super) fn flag(value: &Value) -> Result<bool, String> {
    match value {
        Value::Boolean(flag) => Ok(*flag),
        Value::String(text) if text == "true" => Ok(true),
        Value::String(text) if text == "false" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

fn address(value: &Value) -> Result<SocketAddr, String> {
    text(value)?.parse().map_err(|_| "must be an address and a port, such as \"127.0.0.1:8080\"".to_owned())
}

fn public_url(value: &Value) -> Result<Url, String> {
    let text = text(value)?.trim_end_matches('/');
    let url: Url = text.parse().map_err(|error| format!("is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("must begin with http:// or https://".to_owned());
    }
    if url.query().is_some()
        || url.fragment().is_some()
        || !url.username().is_empty()
        || url.password().is_some()
    {
        return Err("must be an address without user, query or fragment".to_owned());
    }
    if text.len() > PUBLIC_URL_MAX_BYTES {
        return Err(format!(
            "must be at most {PUBLIC_URL_MAX_BYTES} bytes long, since devices with small buffers must hold the URLs made of it"
        ));
    }
    Ok(url)
}

/// A list; the environment gives it as text with commas between.
fn networks(value: &Value) -> Result<Vec<Network>, String> {
    let list = "must be a list of addresses and networks, such as [\"127.0.0.1\", \"10.0.0.0/8\"]";
    let texts: Vec<&str> = match value {
        Value::String(text) => text.split(',').map(str::trim).filter(|text| !text.is_empty()).collect(),
        Value::Array(texts) => texts.iter().map(Value::as_str).collect::<Option<_>>().ok_or(list)?,
        _ => return Err(list.to_owned()),
    };
    if texts.len() > NETWORKS_MAX {
        return Err(format!("has more than {NETWORKS_MAX} entries"));
    }
    let network = |text: &str| text.parse().map_err(|why| format!("{list}: {text:?} {why}"));
    texts.into_iter().map(network).collect()
}

/// Never repeats the URL: it may carry a password.
fn broker(value: &Value) -> Result<BrokerConfig, String> {
    let text = text(value)?;
    if text == "embedded" {
        return Ok(BrokerConfig::Embedded);
    }
    let expected = "must be \"embedded\" or mqtt[s]://user:password@host:port";
    let url: Url = text.parse().map_err(|error| format!("{expected}; this is not a URL: {error}"))?;
    if !matches!(url.scheme(), "mqtt" | "mqtts") || url.host_str().is_none_or(str::is_empty) {
        return Err(expected.to_owned());
    }
    Ok(BrokerConfig::External(Secret::new(text)))
}

fn admit(value: &Value) -> Result<Admit, String> {
    match text(value)? {
        "reported" => Ok(Admit::Reported),
        "registered" => Ok(Admit::Registered),
        _ => Err("must be \"reported\" or \"registered\"".to_owned()),
    }
}

/// Whether the rest is right is the store's to say, when it opens.
fn store_url(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    let path = text.strip_prefix("file:").is_some_and(|path| !path.is_empty());
    let bucket = text
        .strip_prefix("s3://")
        .is_some_and(|bucket| !bucket.is_empty() && !bucket.starts_with(['?', '/']));
    if path || bucket {
        return Ok(text.to_owned());
    }
    Err("must be file:PATH or s3://bucket?region=…&endpoint=…&device_endpoint=…&path_style=true".to_owned())
}

/// Never repeats the URL: it may carry a password.
fn database_url(value: &Value) -> Result<Secret, String> {
    let text = text(value)?;
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return Ok(Secret::new(text));
    }
    match text.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest)) {
        Some(path) if !path.is_empty() && !path.contains(['?', '#']) => Ok(Secret::new(text)),
        _ => Err("must be sqlite:PATH or postgres://USER@HOST/DATABASE".to_owned()),
    }
}
