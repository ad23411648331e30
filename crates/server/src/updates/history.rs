//! A device's updates: listed, counted by how they ended, stopped, found by a short URL; and its quarantine forgotten.

use std::collections::HashMap;

use api::{Page, Update, UpdateEvent};
use cause::{Cause, service as causes};
use contract::{Code, Control, DeviceId, TopicKind};
use fleet::{Delivery, Event, UpdateState};
use serde_json::{Value, json};

use super::service::{Updates, advance};
use super::urls::refused;
use crate::actor::Actor;
use crate::clock::now_ms;
use crate::db::Action;
use crate::db::update::{self, UpdateRow};
use crate::db::update_event::{self, FORGOTTEN_MAX};
use crate::devices::{code_of, event, unknown, update as shown};
use crate::error::Error;

impl Updates {
    /// A device's updates, newest first.
    #[crate::boxed]
    pub async fn of_device(
        &self,
        id: &DeviceId,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<Update>, Error> {
        self.0.devices.row(id).await?;
        let limit = crate::devices::limit(Some(limit))?;
        let below = cursor.map_or(Ok(i64::MAX), cursor_of)?;
        let rows = update::of_device(&self.0.db, id, below, limit as u64 + 1).await?;
        Ok(page(rows, limit, |row| row.id, shown))
    }

    /// What happened to a device's update, in order.
    #[crate::boxed]
    pub async fn events(
        &self,
        id: &DeviceId,
        number: i64,
        cursor: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Page<UpdateEvent>, Error> {
        let limit = crate::devices::limit(limit)?;
        let above = cursor.map_or(Ok(0), cursor_of)?;
        let update = update::by_id(&self.0.db, number).await?.filter(|update| update.device == *id);
        update.ok_or_else(|| Error::NotFound(causes::NO_UPDATE.naming("update", number)))?;
        let rows = update_event::of_update(&self.0.db, number, above, limit as u64 + 1).await?;
        Ok(page(rows, limit, |row| row.id, event))
    }

    /// Forgets what happened to updates that ended too long ago, as much as one transaction takes. They themselves stay.
    /// Answers whether there may be more.
    pub(crate) async fn forget_events(&self, now: i64) -> Result<bool, Error> {
        let kept_ms = i64::from(self.0.history_days) * 86_400_000;
        if kept_ms == 0 {
            return Ok(false);
        }
        let write = self.0.db.write(&Actor::SERVER).await?;
        let forgotten = write.forget_events(now - kept_ms).await?;
        write.commit().await?;
        Ok(forgotten == FORGOTTEN_MAX)
    }

    /// Forgets old updates above a number, some at a time; answers above which number it goes on.
    pub(crate) async fn forget_updates(&self, now: i64, above: i64) -> Result<Option<i64>, Error> {
        let kept_ms = i64::from(self.0.updates_days) * 86_400_000;
        if kept_ms == 0 {
            return Ok(None);
        }
        let write = self.0.db.write(&Actor::SERVER).await?;
        let last = write.forget_updates(now - kept_ms, above).await?;
        write.commit().await?;
        Ok(last)
    }

    /// How many devices' newest update failed or was rolled back with each code; those without a code are left out.
    #[crate::boxed]
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

/// As many as asked, of which one more was read.
fn page<R, T>(mut rows: Vec<R>, limit: usize, id: fn(&R) -> i64, shown: fn(R) -> T) -> Page<T> {
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(|row| id(row).to_string());
    Page { items: rows.into_iter().map(shown).collect(), next }
}

fn cursor_of(text: &str) -> Result<i64, Error> {
    text.parse().map_err(|_| Error::Invalid(causes::CURSOR.cause()))
}

/// What a URL of this server leads to.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// For which update it was sent.
    pub update: i64,
    /// To whom.
    pub device: DeviceId,
    /// Where the image lies.
    pub key: String,
}

impl Updates {
    /// Stops an update that is in flight. The device may go on; what it reports stays the truth.
    #[crate::boxed]
    pub async fn cancel(&self, by: &Actor, id: i64) -> Result<Update, Error> {
        let mut write = self.0.db.write(by).await?;
        let (mut device, mut update) = write
            .lock_update(id)
            .await?
            .ok_or_else(|| Error::NotFound(causes::NO_UPDATE.naming("update", id)))?;
        let before = update.state;
        if !advance(&mut update, &[], Delivery::Fetched, None, &Event::Cancel, None, now_ms()) {
            let state = update.state.as_str().replace('_', " ");
            return Err(Error::Refused(causes::UPDATE_ENDED.naming("update", id).with("state", state)));
        }
        write.save(std::iter::once((&mut device, Some(&update)))).await?;
        let at = |state: UpdateState| json!({ "update": id, "state": state.as_str() });
        write.audit(Action::UPDATE_CANCEL, &device.id.0, at(*before), at(*update.state));
        write.commit().await?;
        self.0.events.device(&update.device);
        Ok(shown(UpdateRow::clone(&update)))
    }
}

impl Updates {
    /// The object that `/d/{token}` serves. Forbidden once expired, tampered with or cancelled.
    #[crate::boxed]
    pub async fn resolve_short(&self, token: &str) -> Result<Fetch, Error> {
        self.fetch(self.0.urls.update_of(token)?).await
    }

    /// What may be fetched for an update. Forbidden once it was cancelled.
    #[crate::boxed]
    pub async fn fetch(&self, id: i64) -> Result<Fetch, Error> {
        match update::by_id(&self.0.db, id).await? {
            Some(update) if update.state != UpdateState::Cancelled => {
                Ok(Fetch { update: id, device: update.device.0, key: update.object_key })
            }
            Some(update) => {
                let why = update.cause.as_deref().map(Cause::sentence);
                Err(Error::Forbidden(causes::UPDATE_CANCELLED.with("why", why)))
            }
            None => Err(refused()),
        }
    }

    /// Forgets which images failed on a device, here and on the device.
    #[crate::boxed]
    pub async fn clear_quarantine(&self, by: &Actor, id: &DeviceId) -> Result<(), Error> {
        let mut write = self.0.db.write(by).await?;
        let device = write.lock_device(id).await?.ok_or_else(|| unknown(id))?;
        write.clear_faults(&device).await?;
        write.audit(Action::QUARANTINE_CLEAR, id, Value::Null, Value::Null);
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
