//! Sending the trigger: signing the URL, and telling the device. Can be killed anywhere and done again.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contract::TopicKind;
use fleet::{Event, UpdateState};
use futures_util::{StreamExt, stream};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use store::Blocked;
use tokio::time::timeout;

use super::check::STORE_PATIENCE;
use super::messages::settle;
use super::{App, AppError, now_ms};
use crate::db::device;
use crate::db::update::{self, UpdateRow};

/// A longer URL is replaced by a short one.
const URL_MAX_BYTES: usize = 1024;
/// A short token: six bytes of the update's number, five of the expiry, sixteen of the HMAC.
const TOKEN_BYTES: usize = 6 + 5 + MAC_BYTES;
const MAC_BYTES: usize = 16;
/// Triggers sent at a time by the tick.
const SENT_AT_ONCE: usize = 16;

/// Holds an update's number while its trigger is being sent.
struct Sending<'a> {
    all: &'a Mutex<HashSet<i64>>,
    id: i64,
}

impl<'a> Sending<'a> {
    fn begin(all: &'a Mutex<HashSet<i64>>, id: i64) -> Option<Self> {
        let begun = all.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        begun.then_some(Self { all, id })
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl App {
    /// Sends an update's trigger if it is still to be sent. Answers whether it was sent; what fails is logged
    /// and done again by the tick.
    pub(crate) async fn send_trigger(&self, id: i64) -> bool {
        let Some(_sending) = Sending::begin(&self.inner.sending, id) else {
            return false;
        };
        match self.try_send_trigger(id).await {
            Ok(sent) => sent,
            Err(error) => {
                tracing::warn!(update = id, "a trigger was not sent, and will be sent again: {error:#}");
                false
            }
        }
    }

    async fn try_send_trigger(&self, id: i64) -> anyhow::Result<bool> {
        let Some(update) = update::by_id(self.db(), id).await? else {
            return Ok(false);
        };
        if update.triggered_at.is_some() || !update.state.is_in_flight() {
            return Ok(false);
        }
        if let Some(why) = timeout(STORE_PATIENCE, self.blocked_reason(&update))
            .await
            .context("the store did not answer in time")??
        {
            self.refuse_trigger(update, &why).await?;
            return Ok(false);
        }
        let url = self.trigger_url(&update).await?;
        let mqtt = self.mqtt().context("the server is still starting")?;
        mqtt.publish(TopicKind::Trigger, &update.device, url.as_bytes(), Some(self.url_lifetime()))
            .await
            .context("the broker did not take it")?;
        // Killed here, it is sent twice, which a device must take.
        let write = self.db().write().await?;
        write.set_triggered(id, update.url_requests, now_ms()).await?;
        write.commit().await?;
        tracing::info!(device = %update.device, update = id, version = %update.to, "the trigger was sent");
        self.announce().device(&update.device);
        Ok(true)
    }

    /// Why the version must not be sent any more, if so.
    async fn blocked_reason(&self, update: &UpdateRow) -> Result<Option<String>, AppError> {
        Ok(match self.store().blocked(&update.product).await? {
            Blocked::List(versions) => {
                versions.get(&update.to).map(|reason| reason.clone().unwrap_or_default())
            }
            Blocked::Unreadable(cause) => Some(cause.sentence()),
        })
    }

    /// Blocked since: an update that was never sent is cancelled; one that was sent gets no new URL.
    async fn refuse_trigger(&self, update: UpdateRow, why: &str) -> anyhow::Result<()> {
        let write = self.db().write().await?;
        let Some(mut now_there) = update::by_id(&write, update.id).await? else {
            return Ok(());
        };
        if now_there.url_requests == 0 && now_there.state == UpdateState::Offered {
            let view = fleet::UpdateView {
                state: now_there.state,
                from: now_there.from.clone(),
                to: now_there.to.clone(),
            };
            if let Some(mut change) = fleet::apply(&view, &Event::Cancel) {
                change.reason = format!("{} was blocked before the trigger was sent: {why}", update.to);
                settle(&mut now_there, change, now_ms());
            }
        } else {
            now_there.triggered_at = Some(now_ms());
        }
        write.save_update(&now_there).await?;
        write.commit().await?;
        tracing::info!(device = %update.device, update = update.id, "no URL was signed, since the version is blocked");
        self.announce().device(&update.device);
        Ok(())
    }

    fn url_lifetime(&self) -> Duration {
        Duration::from_secs(self.config().store.url_lifetime_s.into())
    }

    async fn trigger_url(&self, update: &UpdateRow) -> anyhow::Result<String> {
        if self.config().store.short_urls {
            return self.short_url(update.id);
        }
        let url = timeout(STORE_PATIENCE, self.store().sign(&update.object_key, self.url_lifetime()))
            .await
            .context("signing took too long")??;
        if url.as_str().len() > URL_MAX_BYTES { self.short_url(update.id) } else { Ok(url.into()) }
    }

    /// `{public_url}/d/{token}`.
    fn short_url(&self, update: i64) -> anyhow::Result<String> {
        let expires = now_ms() / 1000 + i64::from(self.config().store.url_lifetime_s);
        let mut token = Vec::with_capacity(TOKEN_BYTES);
        token.extend_from_slice(&update.to_be_bytes()[2..]);
        token.extend_from_slice(&expires.to_be_bytes()[3..]);
        let mac = self.token_mac(&token)?.finalize().into_bytes();
        token.extend_from_slice(&mac[..MAC_BYTES]);
        let base = self.public_url().as_str().trim_end_matches('/');
        Ok(format!("{base}/d/{}", URL_SAFE_NO_PAD.encode(token)))
    }

    fn token_mac(&self, signed: &[u8]) -> anyhow::Result<Hmac<Sha256>> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.inner.url_key).context("an HMAC key of 32 bytes")?;
        // The store signs its own URLs with the same key; the prefix keeps the two apart.
        mac.update(b"short url\0");
        mac.update(signed);
        Ok(mac)
    }

    /// The object that `/d/{token}` serves. Forbidden once expired, tampered with or cancelled.
    pub async fn resolve_short(&self, token: &str) -> Result<String, AppError> {
        let refused = || AppError::Forbidden("This link is not one of this server's.".to_owned());
        let token = URL_SAFE_NO_PAD.decode(token).map_err(|_| refused())?;
        if token.len() != TOKEN_BYTES {
            return Err(refused());
        }
        let (signed, mac) = token.split_at(TOKEN_BYTES - MAC_BYTES);
        self.token_mac(signed)?.verify_truncated_left(mac).map_err(|_| refused())?;
        let number = |bytes: &[u8]| bytes.iter().fold(0_i64, |number, byte| number << 8 | i64::from(*byte));
        let (id, expires) = (number(&signed[..6]), number(&signed[6..]));
        if expires <= now_ms() / 1000 {
            return Err(AppError::Forbidden("This link has expired.".to_owned()));
        }
        match update::by_id(self.db(), id).await? {
            Some(update) if update.state != UpdateState::Cancelled => Ok(update.object_key),
            Some(_) => Err(AppError::Forbidden("This update was cancelled.".to_owned())),
            None => Err(refused()),
        }
    }

    /// Sends what was decided and not sent: by a process that died, or while the broker was away. Who is not
    /// there gets it when it is.
    pub(crate) async fn send_untriggered(&self, now: i64) -> anyhow::Result<()> {
        const PAGE: i64 = 200;
        let mut above = 0;
        loop {
            let updates = update::untriggered(self.db(), above, PAGE).await?;
            let ids: Vec<_> = updates.iter().map(|update| update.device.clone()).collect();
            let devices = device::by_ids(self.db(), &ids).await?;
            let there = |update: &&UpdateRow| {
                let device = devices.iter().find(|device| device.id == update.device);
                device.is_some_and(|device| update.forced || self.is_settled(device, now))
            };
            stream::iter(updates.iter().filter(there))
                .for_each_concurrent(SENT_AT_ONCE, async |update| {
                    self.send_trigger(update.id).await;
                })
                .await;
            match updates.last() {
                Some(last) if i64::try_from(updates.len())? == PAGE => above = last.id,
                _ => return Ok(()),
            }
        }
    }
}
