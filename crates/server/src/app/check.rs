//! Check update: a snapshot of device and store, the decision, and what follows from it.

use std::time::Duration;

use cause::{Cause, decision as causes};
use contract::{ChannelName, DeviceId, ProductName};
use fleet::{Decision, DeviceView, Event, Reach, StoreView, UpdateState};
use tokio::time::{Instant, timeout};

use asked::Asked;

use super::messages::settle;
use super::{App, AppError, now_ms};
use crate::db::device::{self, DeviceRow};
use crate::db::is_duplicate;
use crate::db::update::{self, UpdateRow};
use crate::model::{CheckAnswer, Update};
use crate::mqtt::LinkState;

mod asked;
mod damage;

pub(super) use damage::Damage;

/// How long the store may take to answer all that a decision asks.
pub(super) const STORE_PATIENCE: Duration = Duration::from_secs(5);
/// So often it is decided anew because the device reported something else meanwhile.
const ATTEMPTS: u32 = 3;

impl App {
    /// Decides what the device is offered now and, if it is something, makes the update and sends the trigger.
    /// `force` sends it despite silence.
    pub async fn check_update(&self, id: &DeviceId, force: bool) -> Result<CheckAnswer, AppError> {
        for _ in 0..ATTEMPTS {
            let device = self.device_row(id).await?;
            let newest = self.newest_update(&device).await?;
            let view = self.view(&device, newest.as_ref(), force).await?;
            // What the device's side decides alone costs no request to the store.
            let decision = match fleet::decide(&view, &StoreView::Unavailable(causes::STORE_SILENT.cause())) {
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
        Err(AppError::Refused(format!("{id} reports another version each time it is asked; try again.")))
    }

    /// Stops an update that is in flight. The device may go on; what it reports stays the truth.
    pub async fn cancel_update(&self, id: i64) -> Result<Update, AppError> {
        let write = self.db().write().await?;
        let mut update = update::by_id(&write, id)
            .await?
            .ok_or_else(|| AppError::NotFound(format!("There is no update {id}.")))?;
        let view =
            fleet::UpdateView { state: update.state, from: update.from.clone(), to: update.to.clone() };
        let Some(change) = fleet::apply(&view, &Event::Cancel) else {
            return Err(AppError::Refused(format!(
                "Update {id} has ended already: {}.",
                update.state.as_str().replace('_', " ")
            )));
        };
        settle(&mut update, change, now_ms());
        write.save_update(&update).await?;
        write.commit().await?;
        self.announce().device(&update.device);
        Ok(super::show::update(update))
    }

    async fn view(
        &self,
        device: &DeviceRow,
        newest: Option<&UpdateRow>,
        force: bool,
    ) -> Result<DeviceView, AppError> {
        let reach = match (self.is_online(device, now_ms()) && self.is_linked(), force) {
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
            quarantined: update::quarantined(self.db(), &device.id).await?,
        })
    }

    fn is_linked(&self) -> bool {
        self.mqtt().is_some_and(|mqtt| !matches!(*mqtt.link().borrow(), LinkState::Down { .. }))
    }

    async fn decide(&self, device: &DeviceRow, view: &DeviceView) -> Decision {
        let Some(product) = device.product.clone().or_else(|| self.usual_product()) else {
            return Decision::NoRelease(causes::NO_PRODUCT.cause());
        };
        let asked = Asked {
            store: self.store(),
            product: &product,
            channel: ChannelName::production(),
            device: view,
            damage: self.damage(),
            deadline: Instant::now() + STORE_PATIENCE,
        };
        timeout(STORE_PATIENCE, asked.decide()).await.unwrap_or_else(|_| {
            Decision::StoreUnavailable(causes::STORE_SILENT.with("seconds", STORE_PATIENCE.as_secs()))
        })
    }

    /// Makes the update and sends the trigger; `None` if what was decided upon is no longer so.
    async fn offer(
        &self,
        device: &DeviceRow,
        artifact: fleet::Artifact,
        forced: bool,
    ) -> Result<Option<CheckAnswer>, AppError> {
        let write = self.db().write().await?;
        let fresh =
            device::by_id(&write, &device.id).await?.ok_or_else(|| super::device::unknown(&device.id))?;
        let product = fresh.product.clone().or_else(|| self.usual_product());
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
        self.announce().device(&device.id);
        // Killed here, the tick of the next process sends it.
        if !forced {
            tokio::time::sleep(self.settles_in(&device.id, now_ms())).await;
        }
        self.send_trigger(update.id).await;
        let decision = Decision::Offered(artifact);
        let newest = update::by_id(self.db(), update.id).await?;
        let waits = newest.as_ref().is_some_and(|update| update.triggered_at.is_none());
        let mut answer = self.answer(&decision, newest);
        if waits {
            answer = explained(answer, causes::OFFERED_AND_WAITING);
        }
        Ok(Some(answer))
    }

    /// Somebody else was faster.
    async fn already_in_progress(&self, id: &DeviceId) -> Result<CheckAnswer, AppError> {
        let device = self.device_row(id).await?;
        let newest = self
            .newest_update(&device)
            .await?
            .ok_or_else(|| anyhow::anyhow!("an update is in flight, and there is none"))?;
        let decision = Decision::InProgress { to: newest.to.clone() };
        Ok(self.answer(&decision, Some(newest)))
    }

    fn answer(&self, decision: &Decision, newest: Option<UpdateRow>) -> CheckAnswer {
        let shown = matches!(decision, Decision::Offered(_) | Decision::InProgress { .. });
        let cause = decision.cause();
        let answer = CheckAnswer {
            decision: decision.as_str().to_owned(),
            version: decision.version().cloned(),
            reason: cause.sentence(),
            cause,
            update: newest.filter(|_| shown).map(super::show::update),
        };
        let is_unlinked = matches!(decision, Decision::Offline { .. }) && !self.is_linked();
        if is_unlinked { explained(answer, causes::OFFLINE_WITHOUT_BROKER) } else { answer }
    }
}

/// The same answer with more to say: the entry has the parameters of the one that it stands for.
fn explained(answer: CheckAnswer, entry: cause::Entry) -> CheckAnswer {
    let cause = Cause { code: entry.code.into(), ..answer.cause };
    CheckAnswer { reason: cause.sentence(), cause, ..answer }
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
