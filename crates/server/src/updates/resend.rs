//! Sending triggers that are still to be sent, and finding the object of a short URL.

use cause::service as causes;
use fleet::UpdateState;
use futures_util::{StreamExt, stream};

use super::service::Updates;
use super::urls::refused;
use crate::db::device;
use crate::db::update::{self, UpdateRow};
use crate::error::Error;

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
        const PAGE: i64 = 200;
        let mut above = 0;
        loop {
            let updates = update::untriggered(&self.0.db, above, PAGE).await?;
            let ids: Vec<_> = updates.iter().map(|update| update.device.clone()).collect();
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
                Some(last) if i64::try_from(updates.len())? == PAGE => above = last.id,
                _ => return Ok(()),
            }
        }
    }
}
