//! Stopping an update that is in flight.

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
            .ok_or_else(|| Error::NotFound(format!("There is no update {id}.")))?;
        let Some(change) = change(&update, &Event::Cancel) else {
            return Err(Error::Refused(format!(
                "Update {id} has ended already: {}.",
                update.state.as_str().replace('_', " ")
            )));
        };
        record(&mut update, change, now_ms());
        write.save_update(&update).await?;
        write.commit().await?;
        self.0.events.device(&update.device);
        Ok(shown(update))
    }
}
