//! A device's updates: listed, counted by how they ended, stopped, and its quarantine forgotten.

use std::collections::HashMap;

use api::{Page, Update};
use cause::service as causes;
use contract::{Code, Control, DeviceId, TopicKind};
use fleet::Event;

use super::service::{Updates, change, write as record};
use crate::actor::Actor;
use crate::clock::now_ms;
use crate::db::update::{self, UpdateRow};
use crate::devices::{code_of, unknown, update as shown};
use crate::error::Error;

impl Updates {
    /// A device's updates, newest first.
    pub async fn of_device(
        &self,
        id: &DeviceId,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<Update>, Error> {
        self.0.devices.row(id).await?;
        let limit = crate::devices::limit(Some(limit))?;
        let below = cursor.map_or(Ok(i64::MAX), |cursor| {
            cursor.parse().map_err(|_| Error::Invalid(causes::CURSOR.cause()))
        })?;
        let mut rows = update::of_device(&self.0.db, id, below, limit as u64 + 1).await?;
        let next = (rows.len() > limit)
            .then(|| rows.truncate(limit))
            .and_then(|()| rows.last().map(|row| row.id.to_string()));
        Ok(Page { items: rows.into_iter().map(shown).collect(), next })
    }

    /// How many devices' newest update failed or was rolled back with each code; those without a code are left out.
    pub async fn newest_codes(&self) -> Result<HashMap<Code, u64>, Error> {
        let mut codes = HashMap::new();
        for (reason, devices) in &self.0.db.figures().await?.reasons {
            if let Some(code) = code_of(reason).and_then(|reason| reason.code()) {
                *codes.entry(code).or_default() += devices;
            }
        }
        Ok(codes)
    }
}

impl Updates {
    /// Stops an update that is in flight. The device may go on; what it reports stays the truth.
    pub async fn cancel(&self, by: &Actor, id: i64) -> Result<Update, Error> {
        let write = self.0.db.write(by).await?;
        let (mut device, mut update) = write
            .lock_update(id)
            .await?
            .ok_or_else(|| Error::NotFound(causes::NO_UPDATE.naming("update", id)))?;
        let Some(change) = change(&update, &Event::Cancel) else {
            let state = update.state.as_str().replace('_', " ");
            return Err(Error::Refused(causes::UPDATE_ENDED.naming("update", id).with("state", state)));
        };
        record(&mut update, change, now_ms());
        write.save(std::iter::once((&mut device, Some(&update)))).await?;
        write.commit().await?;
        self.0.events.device(&update.device);
        Ok(shown(UpdateRow::clone(&update)))
    }
}

impl Updates {
    /// Forgets which images failed on a device, here and on the device.
    pub async fn clear_quarantine(&self, by: &Actor, id: &DeviceId) -> Result<(), Error> {
        let write = self.0.db.write(by).await?;
        let device = write.lock_device(id).await?.ok_or_else(|| unknown(id))?;
        write.clear_faults(&device).await?;
        write.commit().await?;
        self.0.events.device(id);
        let word = Control::ClearQuarantine.as_str().as_bytes();
        self.0
            .publisher
            .publish(TopicKind::Control, id, word, None)
            .await
            .map_err(|_| Error::Refused(causes::QUARANTINE_NOT_SENT.naming("device", id)))
    }
}
