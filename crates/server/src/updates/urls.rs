//! The URLs that devices are sent: signed by the store, or short ones of our own where those are wanted or needed.

use std::sync::{Arc, Once};
use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cause::{Cause, service as causes};
use contract::{Topic, TopicKind, VersionTopic};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use store::Store;
use tokio::time::timeout;
use url::{Host, Url};

use crate::clock::now_ms;
use crate::config::Config;
use crate::db::update::UpdateRow;
use crate::error::Error;
use crate::mqtt::publish_bytes;
use crate::releases::STORE_TIMEOUT;

/// A longer URL is replaced by a short one, and so is one that does not fit into a device's packet.
const URL_MAX_BYTES: usize = 1024;
/// A short token: six bytes of the update's number, five of the expiry, sixteen of the HMAC.
const TOKEN_BYTES: usize = 6 + 5 + MAC_BYTES;
const MAC_BYTES: usize = 16;

pub(crate) struct Urls {
    store: Store,
    key: [u8; 32],
    base: Arc<str>,
    lifetime_s: u32,
    short: bool,
    packet_max_bytes: usize,
    /// That devices may not reach the host of their URLs was logged.
    /// The broker is reached from this machine alone, so that its own name for itself does.
    are_devices_here: bool,
    warned: Once,
}

impl Urls {
    pub(crate) fn new(config: &Config, store: Store, public_url: &Url, key: [u8; 32]) -> Self {
        Self {
            store,
            key,
            base: public_url.as_str().trim_end_matches('/').into(),
            lifetime_s: config.store.url_lifetime_s,
            short: config.store.short_urls,
            packet_max_bytes: config.mqtt.device_packet_bytes as usize,
            are_devices_here: config.embedded_broker() && config.mqtt.listen.ip().is_loopback(),
            warned: Once::new(),
        }
    }

    pub(super) fn lifetime(&self) -> Duration {
        Duration::from_secs(self.lifetime_s.into())
    }

    pub(super) async fn of(&self, update: &UpdateRow) -> anyhow::Result<String> {
        let url = self.fitting(update).await?;
        let host = Url::parse(&url).ok().and_then(|url| url.host().map(|host| host.to_owned()));
        if let Some(cause) = host.and_then(|host| self.unreachable(&host)).filter(|_| !self.are_devices_here)
        {
            self.warned.call_once(|| tracing::warn!("{cause}"));
        }
        Ok(url)
    }

    async fn fitting(&self, update: &UpdateRow) -> anyhow::Result<String> {
        if self.short {
            return self.short_url(update.id);
        }
        let purpose = u32::try_from(update.id).ok();
        let url = timeout(STORE_TIMEOUT, self.store.sign_for(&update.object_key, self.lifetime(), purpose))
            .await
            .context("signing took too long")??;
        let url = String::from(url);
        let is_long = url.len() > URL_MAX_BYTES || packet_bytes(update, &url) > self.packet_max_bytes;
        if is_long { self.short_url(update.id) } else { Ok(url) }
    }

    /// Why devices may not reach the host of the URLs that they are sent.
    pub(super) fn warning(&self) -> Option<Cause> {
        let host = if self.short {
            Url::parse(&self.base).ok().and_then(|base| base.host().map(|host| host.to_owned()))
        } else {
            self.store.device_host()
        };
        host.and_then(|host| self.unreachable(&host))
    }

    fn unreachable(&self, host: &Host) -> Option<Cause> {
        let is_ours = self.base.contains(&format!("//{host}"));
        let setting = if is_ours { "http.public_url" } else { "device_endpoint= in the store's URL" };
        let is_loopback = match host {
            Host::Ipv4(address) => address.is_loopback() || address.is_unspecified(),
            Host::Ipv6(address) => {
                let mapped = address.to_ipv4_mapped();
                address.is_loopback() || address.is_unspecified() || mapped.is_some_and(|v4| v4.is_loopback())
            }
            Host::Domain(name) => {
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                name == "localhost" || name.ends_with(".localhost") || name.starts_with("localhost.")
            }
        };
        let is_bare = matches!(host, Host::Domain(name) if !name.trim_end_matches('.').contains('.'));
        let cause = match (is_loopback, is_bare) {
            (true, _) => causes::LOOPBACK_HOST,
            (_, true) => causes::BARE_HOST,
            _ => return None,
        };
        Some(cause.naming("host", host).with("setting", setting))
    }

    /// `{public_url}/d/{token}`.
    fn short_url(&self, update: i64) -> anyhow::Result<String> {
        let expires = now_ms() / 1000 + i64::from(self.lifetime_s);
        let mut token = Vec::with_capacity(TOKEN_BYTES);
        token.extend_from_slice(&update.to_be_bytes()[2..]);
        token.extend_from_slice(&expires.to_be_bytes()[3..]);
        let mac = self.token_mac(&token)?.finalize().into_bytes();
        token.extend_from_slice(&mac[..MAC_BYTES]);
        Ok(format!("{}/d/{}", self.base, URL_SAFE_NO_PAD.encode(token)))
    }

    fn token_mac(&self, signed: &[u8]) -> anyhow::Result<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).context("an HMAC key of 32 bytes")?;
        // The store signs its own URLs with the same key; the prefix keeps the two apart.
        mac.update(b"short url\0");
        mac.update(signed);
        Ok(mac)
    }

    /// The number of the update whose short URL ends in this token. Forbidden once it has expired, or if it was changed.
    pub(super) fn update_of(&self, token: &str) -> Result<i64, Error> {
        let token = URL_SAFE_NO_PAD.decode(token).map_err(|_| refused())?;
        if token.len() != TOKEN_BYTES {
            return Err(refused());
        }
        let (signed, mac) = token.split_at(TOKEN_BYTES - MAC_BYTES);
        self.token_mac(signed)?.verify_truncated_left(mac).map_err(|_| refused())?;
        let number = |bytes: &[u8]| bytes.iter().fold(0_i64, |number, byte| number << 8 | i64::from(*byte));
        let (id, expires) = (number(&signed[..6]), number(&signed[6..]));
        if expires <= now_ms() / 1000 {
            return Err(Error::Forbidden(causes::LINK_EXPIRED.cause()));
        }
        Ok(id)
    }
}

/// How long the trigger with this URL is as a packet.
pub(super) fn packet_bytes(update: &UpdateRow, url: &str) -> usize {
    let topic = Topic { kind: TopicKind::Trigger, device: update.device.0.clone() };
    publish_bytes(topic.write(&VersionTopic::default()).len(), url.len())
}

pub(super) fn refused() -> Error {
    Error::Forbidden(causes::NOT_OUR_LINK.cause())
}
