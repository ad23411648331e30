//! A device's updates, and how the newest ones of all devices ended.

use cause::service as causes;
use std::collections::HashMap;

use contract::{Code, DeviceId};

use super::service::Updates;
use crate::db::update;
use crate::devices::{code_of, update as shown};
use crate::error::Error;
use api::{Page, Update};

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
        let mut rows =
            update::of_device(&self.0.db, id, below, i64::try_from(limit).unwrap_or(0) + 1).await?;
        let next = (rows.len() > limit)
            .then(|| rows.truncate(limit))
            .and_then(|()| rows.last().map(|row| row.id.to_string()));
        Ok(Page { items: rows.into_iter().map(shown).collect(), next })
    }

    /// How many devices' newest update failed or was rolled back with each code; those without a code are left out.
    pub async fn newest_codes(&self) -> Result<HashMap<Code, u64>, Error> {
        let mut codes = HashMap::new();
        for (reason, devices) in update::newest_reasons(&self.0.db).await? {
            if let Some(code) = code_of(&reason).and_then(|reason| reason.code()) {
                *codes.entry(code).or_default() += devices;
            }
        }
        Ok(codes)
    }
}
