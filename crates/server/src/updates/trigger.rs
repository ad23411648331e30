//! Sending the trigger: signing the URL, and telling the device. Can be killed anywhere and done again.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use cause::{Cause, service as causes};
use contract::TopicKind;
use fleet::{Event, UpdateState, Why};
use futures_util::{StreamExt, stream};
use store::Blocked;
use tokio::time::timeout;

use super::service::{Updates, change, write as record};
use super::urls::refused;
use crate::actor::Actor;
use crate::clock::now_ms;
use crate::db::device;
use crate::db::update::{self, UpdateRow};
use crate::error::Error;
use crate::releases::STORE_TIMEOUT;

/// Keeps an update's number while its trigger is being sent.
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

impl Updates {
    /// Sends an update's trigger if it is still to be sent. Answers whether it was sent; what fails is logged
    /// and done again by the tick.
    pub(crate) async fn send_trigger(&self, id: i64) -> bool {
        let Some(_sending) = Sending::begin(&self.0.sending, id) else {
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
        let Some(update) = update::by_id(&self.0.db, id).await? else {
            return Ok(false);
        };
        if update.triggered_at.is_some() || !update.state.is_in_flight() {
            return Ok(false);
        }
        if let Some(cause) = timeout(STORE_TIMEOUT, self.blocked_since(&update))
            .await
            .context("the store did not answer in time")??
        {
            self.refuse_trigger(update, cause).await?;
            return Ok(false);
        }
        let url = self.0.urls.of(&update).await?;
        let lifetime = Some(self.0.urls.lifetime());
        self.0
            .publisher
            .publish(TopicKind::Trigger, &update.device, url.as_bytes(), lifetime)
            .await
            .context("the broker did not take it")?;
        // Killed here, it is sent twice, which a device must take.
        self.note_triggered(id, update.url_requests).await?;
        tracing::info!(device = %*update.device, update = id, version = %*update.to_version, "the trigger was sent");
        self.0.events.device(&update.device);
        Ok(true)
    }

    /// Notes that the trigger was sent; the time-out counts from now. An update that ended meanwhile stays as it is, and
    /// so does one whose device asked for a fresh URL since `url_requests` was read: that one is still to be sent.
    pub(crate) async fn note_triggered(&self, id: i64, url_requests: i64) -> anyhow::Result<()> {
        let write = self.0.db.write(&Actor::SERVER).await?;
        let Some((mut device, mut update)) = write.lock_update(id).await? else { return Ok(()) };
        if update.state.is_in_flight() && update.url_requests == url_requests {
            let now = now_ms();
            update.triggered_at = Some(now);
            update.heard_at = now;
            update.note("sent", now);
            write.save(std::iter::once((&mut device, Some(&update)))).await?;
            write.commit().await?;
        }
        Ok(())
    }

    /// Why the version must not be sent any more, if so.
    async fn blocked_since(&self, update: &UpdateRow) -> Result<Option<Cause>, Error> {
        let blocked = cause::update::BLOCKED_BEFORE_TRIGGER.naming("version", &update.to_version.0);
        Ok(match self.0.releases.store().blocked(&update.product).await? {
            Blocked::List(versions) => {
                versions.get(&update.to_version.0).map(|why| blocked.with("why", why.clone()))
            }
            Blocked::Unreadable(why) => Some(blocked.naming("why", why)),
        })
    }

    /// Blocked since: an update that was never sent is cancelled; one that was sent gets no new URL.
    async fn refuse_trigger(&self, update: UpdateRow, cause: Cause) -> anyhow::Result<()> {
        let write = self.0.db.write(&Actor::SERVER).await?;
        let Some((mut device, mut present)) = write.lock_update(update.id).await? else {
            return Ok(());
        };
        if present.url_requests == 0 && present.state == UpdateState::Offered {
            if let Some(mut change) = change(&present, &Event::Cancel) {
                change.why = Some(Why::Cause(cause));
                record(&mut present, "blocked", change, now_ms());
            }
        } else {
            present.triggered_at = Some(now_ms());
            present.note("blocked", now_ms());
        }
        write.save(std::iter::once((&mut device, Some(&present)))).await?;
        write.commit().await?;
        tracing::info!(device = %*update.device, update = update.id, "no URL was signed, since the version is blocked");
        self.0.events.device(&update.device);
        Ok(())
    }
}

/// Maximum number of triggers that are sent at a time.
const SENT_AT_ONCE: usize = 16;

impl Updates {
    /// The object that `/d/{token}` serves. Forbidden once expired, tampered with or cancelled.
    pub async fn resolve_short(&self, token: &str) -> Result<String, Error> {
        let id = self.0.urls.update_of(token)?;
        match update::by_id(&self.0.db, id).await? {
            Some(update) if update.state != UpdateState::Cancelled => Ok(update.object_key),
            Some(_) => Err(Error::Forbidden(causes::UPDATE_CANCELLED.cause())),
            None => Err(refused()),
        }
    }

    /// Sends what was decided and not sent: by a process that died, or while the broker was away. Who is not
    /// there gets it when it is.
    pub(crate) async fn send_untriggered(&self, now: i64) -> anyhow::Result<()> {
        const PAGE: u64 = 200;
        let mut above = 0;
        loop {
            let updates = update::untriggered(&self.0.db, above, PAGE).await?;
            let ids: Vec<_> = updates.iter().map(|update| update.device.0.clone()).collect();
            let devices = device::by_ids(&self.0.db, &ids).await?;
            let there = |update: &&UpdateRow| {
                let device = devices.iter().find(|device| device.id == update.device);
                device.is_some_and(|device| {
                    update.forced || self.0.devices.presence().is_subscribed(device, now)
                })
            };
            stream::iter(updates.iter().filter(there))
                .for_each_concurrent(SENT_AT_ONCE, async |update| {
                    self.send_trigger(update.id).await;
                })
                .await;
            match updates.last() {
                Some(last) if updates.len() as u64 == PAGE => above = last.id,
                _ => return Ok(()),
            }
        }
    }
}
