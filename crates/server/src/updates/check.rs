//! Check update: a snapshot of device and store, the decision, and the update and trigger that follow from it.

use api::CheckAnswer;
use cause::{decision as causes, service};
use contract::{ChannelName, DeviceId, ProductName};
use fleet::{Decision, DeviceView, Reach, StoreView, UpdateState};
use sea_orm::DbErr;
use tokio::time::{Instant, timeout};

use super::questions::Questions;
use super::service::Updates;
use crate::actor::Actor;
use crate::clock::now_ms;
use crate::db::device::DeviceRow;
use crate::db::update::{self, UpdateRow};
use crate::db::{Query, is_duplicate};
use crate::devices::unknown;
use crate::error::Error;
use crate::releases::STORE_TIMEOUT;

/// Maximum attempts: the device may report something else between the decision and the offer.
const ATTEMPTS: u32 = 3;

impl Updates {
    /// Decides what the device is offered now and, if it is something, makes the update and sends the trigger.
    /// `force` sends it despite silence.
    pub async fn check(&self, by: &Actor, id: &DeviceId, force: bool) -> Result<CheckAnswer, Error> {
        for _ in 0..ATTEMPTS {
            let device = self.0.devices.row(id).await?;
            let newest = self.newest_update(&device).await?;
            let view = self.view(&device, newest.as_ref(), force).await?;
            // What the device's side decides alone costs no request to the store.
            let decision = match fleet::decide(&view, &StoreView::Unavailable(causes::STORE_TIMEOUT.cause()))
            {
                Decision::StoreUnavailable(_) => self.decide(&device, &view).await?,
                decided => decided,
            };
            let Decision::Offered(artifact) = decision else {
                return Ok(self.answer(&decision, newest));
            };
            if let Some(answer) = Box::pin(self.offer(by, &device, artifact, force)).await? {
                return Ok(answer);
            }
        }
        Err(Error::Refused(service::REPORTS_CHANGE.naming("device", id)))
    }

    async fn view(
        &self,
        device: &DeviceRow,
        newest: Option<&UpdateRow>,
        force: bool,
    ) -> Result<DeviceView, Error> {
        let reach = match (self.0.devices.presence().is_online(device) && self.is_linked(), force) {
            (true, _) => Reach::Online,
            (false, true) => Reach::Forced,
            (false, false) => Reach::Silent,
        };
        let report = device.report.as_ref();
        Ok(DeviceView {
            version: device.version.clone().map(|version| version.0),
            chip: report.and_then(|report| report.chip.clone()),
            slot_bytes: report.and_then(|report| report.slot_bytes).map(u64::from),
            in_progress: newest
                .filter(|update| update.state.is_in_flight())
                .map(|update| update.to_version.0.clone()),
            reach,
            quarantined: update::quarantined(&self.0.db, &device.id).await?,
        })
    }

    async fn product_of(&self, query: &impl Query, device: &DeviceRow) -> Result<Option<ProductName>, DbErr> {
        match device.product.clone() {
            None => self.0.releases.default_product(query).await,
            Some(own) => Ok(Some(own.0)),
        }
    }

    async fn decide(&self, device: &DeviceRow, view: &DeviceView) -> Result<Decision, Error> {
        let Some(product) = self.product_of(&self.0.db, device).await? else {
            return Ok(Decision::NoRelease(causes::NO_PRODUCT.cause()));
        };
        let questions = Questions {
            store: self.0.releases.store(),
            product: &product,
            channel: ChannelName::production(),
            device: view,
            corrupt: &self.0.corrupt,
            deadline: Instant::now() + STORE_TIMEOUT,
        };
        Ok(timeout(STORE_TIMEOUT, questions.decide()).await.unwrap_or_else(|_| {
            Decision::StoreUnavailable(causes::STORE_TIMEOUT.with("seconds", STORE_TIMEOUT.as_secs()))
        }))
    }
}

impl Updates {
    /// Makes the update and sends the trigger; `None` if what was decided upon is no longer so.
    pub(super) async fn offer(
        &self,
        by: &Actor,
        device: &DeviceRow,
        artifact: fleet::Artifact,
        forced: bool,
    ) -> Result<Option<CheckAnswer>, Error> {
        let mut write = self.0.db.write(by).await?;
        let mut fresh = write.lock_device(&device.id).await?.ok_or_else(|| unknown(&device.id))?;
        let is_same = fresh.version == device.version && fresh.product == device.product;
        let Some(product) = self.product_of(&write, &fresh).await?.filter(|_| is_same) else {
            return Ok(None);
        };
        let update = new_update(&fresh, product, &artifact, forced)?;
        let update = match write.insert_update(&mut fresh, update).await {
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
        self.send_trigger(update).await;
        let decision = Decision::Offered(artifact);
        let newest = update::by_id(&self.0.db, update).await?;
        Ok(Some(self.answer(&decision, newest)))
    }

    async fn already_in_progress(&self, id: &DeviceId) -> Result<CheckAnswer, Error> {
        let device = self.0.devices.row(id).await?;
        let newest = self
            .newest_update(&device)
            .await?
            .ok_or_else(|| anyhow::anyhow!("an update is in flight, and there is none"))?;
        let decision = Decision::InProgress { to: newest.to_version.0.clone() };
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
        product: product.into(),
        from_version: device.version.clone(),
        to_version: artifact.version.clone().into(),
        object_key: artifact.key.clone(),
        sha256: artifact.sha256.map(Into::into),
        bytes: i64::try_from(artifact.size)?,
        state: UpdateState::Offered.into(),
        reason: String::new(),
        cause: None,
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
        event_count: 0,
    })
}
