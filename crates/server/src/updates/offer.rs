//! Making an update and sending its trigger, once that was decided.

use contract::{DeviceId, ProductName};
use fleet::{Decision, UpdateState};

use super::service::Updates;
use crate::clock::now_ms;
use crate::db::device::{self, DeviceRow};
use crate::db::is_duplicate;
use crate::db::update::{self, UpdateRow};
use crate::devices::unknown;
use crate::error::Error;
use api::CheckAnswer;

impl Updates {
    /// Makes the update and sends the trigger; `None` if what was decided upon is no longer so.
    pub(super) async fn offer(
        &self,
        device: &DeviceRow,
        artifact: fleet::Artifact,
        forced: bool,
    ) -> Result<Option<CheckAnswer>, Error> {
        let write = self.0.db.write().await?;
        let fresh = device::by_id(&write, &device.id).await?.ok_or_else(|| unknown(&device.id))?;
        let product = fresh.product.clone().or_else(|| self.0.releases.default_product());
        let Some(product) =
            product.filter(|_| fresh.version == device.version && fresh.product == device.product)
        else {
            return Ok(None);
        };
        let mut update = new_update(&fresh, product, &artifact, forced)?;
        update.id = match write.insert_update(&update).await {
            Ok(id) => id,
            Err(error) if is_duplicate(&error) => {
                drop(write);
                return self.already_in_progress(&device.id).await.map(Some);
            }
            Err(error) => return Err(error.into()),
        };
        write.commit().await?;
        self.0.events.device(&device.id);
        // Killed here, the tick of the next process sends it.
        if !forced {
            tokio::time::sleep(self.0.devices.presence().subscribes_in(&device.id, now_ms())).await;
        }
        self.send_trigger(update.id).await;
        let decision = Decision::Offered(artifact);
        let newest = update::by_id(&self.0.db, update.id).await?;
        Ok(Some(self.answer(&decision, newest)))
    }

    /// Somebody else was faster.
    async fn already_in_progress(&self, id: &DeviceId) -> Result<CheckAnswer, Error> {
        let device = self.0.devices.row(id).await?;
        let newest = self
            .newest_update(&device)
            .await?
            .ok_or_else(|| anyhow::anyhow!("an update is in flight, and there is none"))?;
        let decision = Decision::InProgress { to: newest.to.clone() };
        Ok(self.answer(&decision, Some(newest)))
    }
}

fn new_update(
    device: &DeviceRow,
    product: ProductName,
    artifact: &fleet::Artifact,
    forced: bool,
) -> anyhow::Result<UpdateRow> {
    let now = now_ms();
    Ok(UpdateRow {
        id: 0,
        device: device.id.clone(),
        product,
        from: device.version.clone(),
        to: artifact.version.clone(),
        object_key: artifact.key.clone(),
        sha256: artifact.sha256,
        bytes: i64::try_from(artifact.size)?,
        state: UpdateState::Offered,
        why: None,
        phase: None,
        done: 0,
        forced,
        outcome_before: device.last_outcome.clone(),
        url_requests: 0,
        image_at_fault: false,
        created_at: now,
        heard_at: now,
        triggered_at: None,
        finished_at: None,
    })
}
