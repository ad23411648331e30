//! The URLs that devices are sent: signed by the store, or short ones of our own where those are wanted or needed.

use cause::service as causes;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use store::Store;
use tokio::time::timeout;
use url::Url;

use crate::clock::now_ms;
use crate::config::StoreConfig;
use crate::db::update::UpdateRow;
use crate::error::Error;
use crate::releases::STORE_TIMEOUT;

/// A longer URL is replaced by a short one.
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
}

impl Urls {
    pub(crate) fn new(config: &StoreConfig, store: Store, public_url: &Url, key: [u8; 32]) -> Self {
        let base = public_url.as_str().trim_end_matches('/').into();
        Self { store, key, base, lifetime_s: config.url_lifetime_s, short: config.short_urls }
    }

    pub(super) fn lifetime(&self) -> Duration {
        Duration::from_secs(self.lifetime_s.into())
    }

    pub(super) async fn of(&self, update: &UpdateRow) -> anyhow::Result<String> {
        if self.short {
            return self.short_url(update.id);
        }
        let url = timeout(STORE_TIMEOUT, self.store.sign(&update.object_key, self.lifetime()))
            .await
            .context("signing took too long")??;
        if url.as_str().len() > URL_MAX_BYTES { self.short_url(update.id) } else { Ok(url.into()) }
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

pub(super) fn refused() -> Error {
    Error::Forbidden(causes::NOT_OUR_LINK.cause())
}
