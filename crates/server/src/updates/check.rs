//! Check update: a snapshot of device and store, and the decision.

use cause::{decision as causes, service};
use contract::{ChannelName, DeviceId};
use fleet::{Decision, DeviceView, Reach, StoreView};
use tokio::time::{Instant, timeout};

use super::questions::Questions;
use super::service::Updates;
use crate::clock::now_ms;
use crate::db::device::DeviceRow;
use crate::db::update::{self, UpdateRow};
use crate::error::Error;
use crate::releases::STORE_TIMEOUT;
use api::CheckAnswer;

/// Maximum attempts: the device may report something else between the decision and the offer.
const ATTEMPTS: u32 = 3;

impl Updates {
    /// Decides what the device is offered now and, if it is something, makes the update and sends the trigger.
    /// `force` sends it despite silence.
    pub async fn check(&self, id: &DeviceId, force: bool) -> Result<CheckAnswer, Error> {
        for _ in 0..ATTEMPTS {
            let device = self.0.devices.row(id).await?;
            let newest = self.newest_update(&device).await?;
            let view = self.view(&device, newest.as_ref(), force).await?;
            // What the device's side decides alone costs no request to the store.
            let decision = match fleet::decide(&view, &StoreView::Unavailable(causes::STORE_TIMEOUT.cause()))
            {
                Decision::StoreUnavailable(_) => self.decide(&device, &view).await,
                decided => decided,
            };
            let Decision::Offered(artifact) = decision else {
                return Ok(self.answer(&decision, newest));
            };
            if let Some(answer) = self.offer(&device, artifact, force).await? {
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
        let reach = match (self.0.devices.presence().is_online(device, now_ms()) && self.is_linked(), force) {
            (true, _) => Reach::Online,
            (false, true) => Reach::Forced,
            (false, false) => Reach::Silent,
        };
        let report = device.report.as_ref();
        Ok(DeviceView {
            version: device.version.clone(),
            chip: report.and_then(|report| report.chip.clone()),
            slot_bytes: report.and_then(|report| report.slot_bytes).map(u64::from),
            in_progress: newest.filter(|update| update.state.is_in_flight()).map(|update| update.to.clone()),
            reach,
            quarantined: update::quarantined(&self.0.db, &device.id).await?,
        })
    }

    async fn decide(&self, device: &DeviceRow, view: &DeviceView) -> Decision {
        let Some(product) = device.product.clone().or_else(|| self.0.releases.default_product()) else {
            return Decision::NoRelease(causes::NO_PRODUCT.cause());
        };
        let questions = Questions {
            store: self.0.releases.store(),
            product: &product,
            channel: ChannelName::production(),
            device: view,
            corrupt: &self.0.corrupt,
            deadline: Instant::now() + STORE_TIMEOUT,
        };
        timeout(STORE_TIMEOUT, questions.decide()).await.unwrap_or_else(|_| {
            Decision::StoreUnavailable(causes::STORE_TIMEOUT.with("seconds", STORE_TIMEOUT.as_secs()))
        })
    }
}
