//! Check update: a snapshot of device and store, the decision, and what follows from it.

use std::time::Duration;

use contract::{ChannelName, DeviceId, ProductName, Sha256, Version};
use fleet::{Blocked, ChannelView, Decision, DeviceView, Event, Reach, StoreView, UpdateState};
use futures_util::{StreamExt, TryStreamExt, stream};
use store::StoreError;
use tokio::time::timeout;

use super::messages::settle;
use super::{App, AppError, now_ms};
use crate::db::device::{self, DeviceRow};
use crate::db::is_duplicate;
use crate::db::update::{self, UpdateRow};
use crate::model::{CheckAnswer, Update};
use crate::mqtt::LinkState;

/// How long the store may take to answer all that a decision asks.
pub(super) const STORE_PATIENCE: Duration = Duration::from_secs(5);
/// How long of that reading an image may take whose metadata has no digest.
const DIGEST_PATIENCE: Duration = Duration::from_secs(3);
/// Releases on the way to a target that are read at a time.
const STEPS_AT_ONCE: usize = 16;
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
            let decision = match fleet::decide(&view, &StoreView::Unavailable(String::new())) {
                Decision::StoreUnavailable { .. } => self.decide(&device, &view).await,
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
            return Decision::NoRelease {
                why: "The device belongs to no product yet: choose one for it, or set fleet.default_product."
                    .to_owned(),
            };
        };
        let channel = ChannelName::production();
        let running = view.version.as_ref();
        let asked = timeout(STORE_PATIENCE, self.channel_view(&product, channel, running)).await;
        let store = match asked {
            Ok(Ok(view)) => StoreView::Channel(view),
            Ok(Err(decision)) => return decision,
            Err(_) => StoreView::Unavailable(format!(
                "The store did not answer within {} seconds.",
                STORE_PATIENCE.as_secs()
            )),
        };
        fleet::decide(view, &store)
    }

    /// All of the store that the decision needs, read afresh.
    async fn channel_view(
        &self,
        product: &ProductName,
        channel: ChannelName,
        running: Option<&Version>,
    ) -> Result<ChannelView, Decision> {
        let version = match self.store().channel(product, &channel).await {
            Ok(version) => version,
            // A product that is registered and has no image yet.
            Err(StoreError::NotFound(_)) => None,
            Err(error) => return Err(unavailable(&error)),
        };
        let Some(version) = version else {
            return Ok(ChannelView {
                channel,
                target: None,
                blocked: Blocked::Versions(std::collections::BTreeMap::new()),
                releases: Vec::new(),
            });
        };
        let blocked = match self.store().blocked(product).await.map_err(|error| unavailable(&error))? {
            store::Blocked::List(versions) => Blocked::Versions(versions),
            store::Blocked::Unreadable(why) => Blocked::Unreadable(why),
        };
        let target = self
            .store()
            .artifact(product, &channel, &version)
            .await
            .map_err(|error| unavailable(&error))?
            .ok_or_else(|| Decision::NoRelease {
                why: format!("{product}'s {channel} says {version}, and there is no firmware.bin of it."),
            })?;
        let too_far =
            target.requires.as_ref().is_some_and(|lowest| running.is_none_or(|running| lowest > running));
        let releases = if too_far {
            self.intermediates(product, &channel, running, &target.version).await?
        } else {
            Vec::new()
        };
        let mut target = artifact(target);
        if target.sha256.is_none() && running != Some(&target.version) {
            target.sha256 = self.digest(&target.key).await;
        }
        Ok(ChannelView { channel, target: Some(target), blocked, releases })
    }

    /// The digest of an image of which nobody said it: without one, an image that failed twice cannot be told from
    /// another. A bucket that takes too long leaves it unknown, as the device still judges by itself.
    async fn digest(&self, key: &str) -> Option<Sha256> {
        match timeout(DIGEST_PATIENCE, self.store().digest(key)).await {
            Ok(Ok(sha256)) => Some(sha256),
            Ok(Err(error)) => {
                tracing::warn!(store.key = key, %error, "the image's digest stays unknown");
                None
            }
            Err(_) => {
                tracing::warn!(store.key = key, "the image's digest stays unknown: the store takes too long");
                None
            }
        }
    }

    /// The releases on the way to a target that is too far, as artifacts. The rest of the product's is not read: a
    /// decision has five seconds.
    async fn intermediates(
        &self,
        product: &ProductName,
        channel: &ChannelName,
        running: Option<&Version>,
        target: &Version,
    ) -> Result<Vec<fleet::Artifact>, Decision> {
        let releases = self.store().releases(product).await.map_err(|error| unavailable(&error))?;
        let on_the_way = releases.into_iter().map(|release| (release.version, release.requires)).filter(
            |(version, requires)| {
                running.is_some_and(|running| {
                    version > running
                        && version < target
                        && requires.as_ref().is_none_or(|lowest| lowest <= running)
                })
            },
        );
        let artifacts = stream::iter(on_the_way)
            .map(async |(version, _)| self.store().artifact(product, channel, &version).await)
            .buffer_unordered(STEPS_AT_ONCE);
        let artifacts: Vec<_> = artifacts.try_collect().await.map_err(|error| unavailable(&error))?;
        Ok(artifacts.into_iter().flatten().map(artifact).collect())
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
            answer.reason.push_str(" The trigger is sent as soon as store and broker answer.");
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
        let mut reason = decision.sentence();
        if matches!(decision, Decision::Offline { .. }) && !self.is_linked() {
            reason.push_str(" The server has no connection to its broker.");
        }
        CheckAnswer {
            decision: decision.as_str().to_owned(),
            version: decision.version().cloned(),
            reason,
            update: newest.filter(|_| shown).map(super::show::update),
        }
    }
}

fn unavailable(error: &StoreError) -> Decision {
    Decision::StoreUnavailable { why: error.to_string() }
}

fn artifact(artifact: store::Artifact) -> fleet::Artifact {
    fleet::Artifact {
        version: artifact.version,
        key: artifact.key,
        size: artifact.size,
        sha256: artifact.sha256,
        chip: artifact.chip,
        requires: artifact.requires,
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
        reason: String::new(),
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
