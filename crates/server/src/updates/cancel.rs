//! Stopping an update that is in flight.

use cause::service as causes;
use fleet::Event;

use super::outcome::{change, write as record};
use super::service::Updates;
use crate::clock::now_ms;
use crate::db::update;
use crate::devices::update as shown;
use crate::error::Error;
use api::Update;

impl Updates {
    /// Stops an update that is in flight. The device may go on; what it reports stays the truth.
    pub async fn cancel(&self, id: i64) -> Result<Update, Error> {
        let write = self.0.db.write().await?;
        let mut update = update::by_id(&write, id)
            .await?
            .ok_or_else(|| Error::NotFound(causes::NO_UPDATE.naming("update", id)))?;
        let Some(change) = change(&update, &Event::Cancel) else {
            let state = update.state.as_str().replace('_', " ");
            return Err(Error::Refused(causes::UPDATE_ENDED.naming("update", id).with("state", state)));
        };
        record(&mut update, change, now_ms());
        write.save_update(&update).await?;
        write.commit().await?;
        self.0.events.device(&update.device);
        Ok(shown(update))
    }
}
