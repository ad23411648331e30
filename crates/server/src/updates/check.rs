//! Check update, for one device or many: a snapshot of devices and store, the plan, and the updates that are made of it, up to 500 in
//! one transaction. The sender does the rest.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use ::image::Chip;
use api::{CheckAnswer, CheckRequest, HOLD};
use cause::{decision as causes, rollout, service, update as ends};
use contract::{ChannelName, DeviceId, ProductName, Version};
use fleet::{Action, Artifact, Decision, DeviceView, Kept, Reach, Snapshot, StoreView, Subject, UpdateState};
use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use super::questions::{Questions, plan_with};
use super::service::{BATCH, Updates, flight_of};
use super::target::Target;
use crate::actor::Actor;
use crate::clock::now_ms;
use crate::db::Query;
use crate::db::device::{self, DeviceRow};
use crate::db::image;
use crate::db::update::{self, UpdateRow};
use crate::error::Error;
use crate::mqtt::LinkState;
use crate::releases::STORE_TIMEOUT;

/// Maximum attempts: the device may report something else between the decision and the offer.
const ATTEMPTS: u32 = 3;
/// How long the answer waits for the trigger to be sent.
const SENT_TIMEOUT: Duration = Duration::from_secs(2);

/// For how long an update is kept for a device that is offline, in seconds: at least, if nothing is said, at most.
const KEPT_S: [u32; 3] = [60, 7 * 86_400, 30 * 86_400];

/// How devices are checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct How {
    /// The trigger is sent despite silence.
    pub force: bool,
    /// The update of a device that is not there is kept for it, for so many seconds.
    pub kept_s: Option<u32>,
}

impl From<bool> for How {
    fn from(force: bool) -> Self {
        Self { force, kept_s: None }
    }
}

impl How {
    /// Of a request; Invalid.
    pub fn of(request: &CheckRequest) -> Result<Self, Error> {
        let [least, usual, most] = KEPT_S;
        let kept_s = request.expires_s.unwrap_or(usual);
        if !(least..=most).contains(&kept_s) {
            return Err(Error::Invalid(service::EXPIRES.with("least", least).with("most", most)));
        }
        if request.force && request.when_online {
            return Err(Error::Invalid(service::FORCE_OR_WAIT.cause()));
        }
        Ok(Self { force: request.force, kept_s: request.when_online.then_some(kept_s) })
    }
}

/// What is wished for devices: the channel's version, or a rollout's.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) how: How,
    /// Instead of what the channel points to.
    pub(super) target: Option<Target>,
}

/// What was decided of a device that was not offered anything, with its newest update.
pub(super) struct Decided {
    pub(super) decision: Decision,
    update: Option<UpdateRow>,
    device: Option<DeviceRow>,
}

/// What is offered to devices, with what was known of each when it was decided.
type Offers = HashMap<DeviceId, (Subject, Artifact)>;

impl Updates {
    /// Decides what the device is offered now and, if it is something, makes the update and has the trigger sent.
    #[crate::boxed]
    pub async fn check(
        &self,
        by: &Actor,
        id: &DeviceId,
        how: impl Into<How> + Send + 'static,
    ) -> Result<CheckAnswer, Error> {
        if let Some(answer) = self.check_many(by, std::slice::from_ref(id), how.into()).await?.remove(id) {
            return Ok(answer);
        }
        self.0.devices.row(id).await?;
        Err(Error::Refused(service::REPORTS_CHANGE.naming("device", id)))
    }

    /// The same for many. There is no answer for those that are not known, or go on reporting something else.
    #[crate::boxed]
    pub async fn check_many(
        &self,
        by: &Actor,
        ids: &[DeviceId],
        how: impl Into<How> + Send + 'static,
    ) -> Result<BTreeMap<DeviceId, CheckAnswer>, Error> {
        let wish = Wish { how: how.into(), target: None };
        if wish.how.force {
            self.force_deferred(by, ids).await?;
        }
        let (decided, mut offered) = self.offer_many(by, ids, &wish).await?;
        let answer = |(id, Decided { decision, update, device })| {
            (id, self.answer(&decision, update, device.as_ref()))
        };
        let mut answers: BTreeMap<_, _> = decided.into_iter().map(answer).collect();
        let made: Vec<i64> = offered.keys().copied().collect();
        if *self.0.link.borrow() == LinkState::Up {
            self.0.queue.wait(&made, SENT_TIMEOUT).await;
        }
        for row in update::by_ids(&self.0.db, &made).await? {
            if let Some(artifact) = offered.remove(&row.id) {
                let id = row.device.0.clone();
                answers.insert(id, self.answer(&Decision::Offered(artifact), Some(row), None));
            }
        }
        Ok(answers)
    }

    /// Makes the updates that are wished. Answers what was decided of the other devices, and what was offered, by the updates'
    /// numbers.
    pub(super) async fn offer_many(
        &self,
        by: &Actor,
        ids: &[DeviceId],
        wish: &Wish,
    ) -> Result<(BTreeMap<DeviceId, Decided>, HashMap<i64, Artifact>), Error> {
        let (mut decided, mut offered) = (BTreeMap::new(), HashMap::new());
        for ids in ids.chunks(BATCH) {
            let mut open = ids.to_vec();
            for _ in 0..ATTEMPTS {
                if open.is_empty() {
                    break;
                }
                let offers = self.decide(&open, wish, &mut decided).await?;
                open = self.offer(by, offers, wish, &mut offered).await?;
            }
        }
        Ok((decided, offered))
    }

    /// What would be decided of each device if it were there now.
    pub(super) async fn assess(
        &self,
        ids: &[DeviceId],
        target: &Target,
    ) -> Result<Vec<(DeviceId, Decision)>, Error> {
        let wish = Wish { how: true.into(), target: Some(target.clone()) };
        let mut decided = BTreeMap::new();
        let offers = self.decide(ids, &wish, &mut decided).await?;
        let offered = offers.into_iter().map(|(id, (_, artifact))| (id, Decision::Offered(artifact)));
        Ok(offered.chain(decided.into_iter().map(|(id, decided)| (id, decided.decision))).collect())
    }

    /// Decides of those that are not offered anything.
    async fn decide(
        &self,
        ids: &[DeviceId],
        wish: &Wish,
        decided: &mut BTreeMap<DeviceId, Decided>,
    ) -> Result<Offers, Error> {
        let devices = device::by_ids(&self.0.db, ids).await?;
        let (mut subjects, mut newest) = self.subjects(&self.0.db, devices.iter(), wish.how).await?;
        let mut devices: HashMap<DeviceId, DeviceRow> =
            devices.into_iter().map(|device| (device.id.0.clone(), device)).collect();
        if let Some(target) = &wish.target {
            let is_other =
                |_: &DeviceId, subject: &mut Subject| subject.product.as_ref() != Some(&target.product);
            for (id, _) in subjects.extract_if(.., is_other) {
                let cause = rollout::OTHER_PRODUCT.naming("product", &target.product);
                let (decision, device) = (Decision::NoRelease(cause), devices.remove(&id));
                decided.insert(id, Decided { decision, update: None, device });
            }
        }
        let mut offers = Offers::new();
        for action in self.plan(subjects.clone(), wish.target.as_ref()).await? {
            match action {
                Action::Answer { device: id, decision } => {
                    let (update, device) = (newest.remove(&id), devices.remove(&id));
                    decided.insert(id, Decided { decision, update, device });
                }
                Action::Offer { device, artifact } => {
                    let subject = subjects.remove_entry(&device);
                    offers.extend(subject.map(|(id, subject)| (id, (subject, artifact))));
                }
                _ => {}
            }
        }
        Ok(offers)
    }

    /// All that a decision looks at of devices, and their newest updates.
    pub(super) async fn subjects(
        &self,
        query: &impl Query,
        devices: impl Iterator<Item = &DeviceRow>,
        how: How,
    ) -> Result<(BTreeMap<DeviceId, Subject>, HashMap<DeviceId, UpdateRow>), Error> {
        let devices: Vec<&DeviceRow> = devices.collect();
        let newest: Vec<i64> = devices.iter().filter_map(|device| device.update_id).collect();
        let newest = update::by_ids(query, &newest).await?.into_iter();
        let newest: HashMap<_, _> = newest.map(|row| (row.device.0.clone(), row)).collect();
        let ids: Vec<DeviceId> = devices.iter().map(|device| device.id.0.clone()).collect();
        let mut failed = update::failed(query, &ids).await?;
        let known = image::known(query, devices.iter().filter_map(|device| Some(device.sha256?.0))).await?;
        let usual = self.0.releases.default_product(query).await?;
        let subject = |device: &DeviceRow| {
            let update = newest.get(&device.id.0).filter(|update| update.state.is_in_flight());
            let mut view = self.view(device, update, how);
            view.kept = kept(device, newest.get(&device.id.0));
            if let Some(version) = &device.version {
                let sha256 = device.sha256.map(|sha256| sha256.0);
                view.image = known.image(device.product.as_deref(), version, sha256);
            }
            let failed = failed.remove(&device.id.0).unwrap_or_default();
            (view.quarantined, view.refused) = (failed.quarantined, failed.refused);
            let product = device.product.as_deref().or(usual.as_ref()).cloned();
            (device.id.0.clone(), Subject { product, flight: update.map(flight_of), asks: Some(view) })
        };
        let subjects = devices.into_iter().map(subject).collect();
        Ok((subjects, newest))
    }

    fn view(&self, device: &DeviceRow, in_flight: Option<&UpdateRow>, how: How) -> DeviceView {
        let is_made = how.force || how.kept_s.is_some();
        let reach = match (self.0.devices.presence().is_there(device) && self.is_linked(), is_made) {
            (true, _) => Reach::Online,
            (false, true) => Reach::Forced,
            (false, false) => Reach::Silent,
        };
        let report = device.report.as_ref();
        DeviceView {
            version: device.version.clone().map(|version| version.0),
            image: fleet::Image::default(),
            // One that is not known cannot be the wrong one.
            chip: report
                .and_then(|report| Chip::from_name(report.chip.as_deref()?))
                .map(|chip| chip.name().to_owned()),
            chip_revision: report.and_then(|report| report.chip_revision),
            slot_bytes: device.slot_bytes.and_then(|bytes| bytes.try_into().ok()),
            in_progress: in_flight.map(|update| update.to_version.0.clone()),
            reach,
            quarantined: Vec::new(),
            refused: Vec::new(),
            kept: None,
        }
    }

    /// What the devices' side decides alone costs no request to the store; the rest costs one look for each product.
    async fn plan(
        &self,
        subjects: BTreeMap<DeviceId, Subject>,
        target: Option<&Target>,
    ) -> Result<Vec<Action>, Error> {
        let mut all = Snapshot { devices: subjects, ..Snapshot::default() };
        let (mut planned, mut products) = (Vec::new(), BTreeMap::<ProductName, Snapshot>::new());
        for action in fleet::plan(&all, 0) {
            if let Action::Answer { device, decision: Decision::StoreUnavailable(_) } = &action
                && let Some(subject) = all.devices.remove(device)
                && let Some(product) = subject.product.clone()
            {
                products.entry(product).or_default().devices.insert(device.clone(), subject);
            } else {
                planned.push(action);
            }
        }
        if products.is_empty() {
            return Ok(planned);
        }
        let blocked_images = image::blocked(&self.0.db).await?;
        let looks = products.into_iter().map(async |(product, mut snapshot)| {
            let questions = Questions {
                releases: &self.0.releases,
                product: &product,
                channel: ChannelName::production(),
                wanted: target.map(|target| target.version.clone()),
                blocked_images: &blocked_images,
                deadline: Instant::now() + STORE_TIMEOUT,
            };
            timeout(STORE_TIMEOUT, questions.plan(&mut snapshot)).await.unwrap_or_else(|_| {
                let why = causes::STORE_TIMEOUT.with("seconds", STORE_TIMEOUT.as_secs());
                Ok(plan_with(&mut snapshot, &product, StoreView::Unavailable(why)))
            })
        });
        for actions in join_all(looks).await {
            planned.extend(actions?);
        }
        Ok(planned)
    }
}

impl Updates {
    /// Makes the updates, in one transaction. Answers the devices of which what was decided upon is no longer so.
    async fn offer(
        &self,
        by: &Actor,
        mut offers: Offers,
        wish: &Wish,
        offered: &mut HashMap<i64, Artifact>,
    ) -> Result<Vec<DeviceId>, Error> {
        if offers.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<DeviceId> = offers.keys().cloned().collect();
        let mut write = self.0.db.write(by).await?;
        let mut devices = write.lock_devices(&ids).await?;
        if let Some(target) = &wish.target
            && !write.lock_rollout(target.rollout).await?.is_some_and(|rollout| rollout.may_offer())
        {
            return Ok(Vec::new());
        }
        let (now, _) = self.subjects(&write, devices.iter().map(|device| &**device), wish.how).await?;
        let mut new = Vec::with_capacity(devices.len());
        for device in &mut devices {
            let Some((then, artifact)) = offers.get(&device.id.0) else { continue };
            // One that was offered it meanwhile is looked for no more.
            let is_wanted = wish.target.as_ref().is_none_or(|target| device.rollout == Some(target.rollout));
            let is_same = is_wanted && now.get(&device.id.0) == Some(then);
            if let Some(product) = then.product.clone().filter(|_| is_same) {
                let update = self.new_update(device, product, artifact, wish)?;
                // What it reports from now on may come of the offer.
                (device.returns, device.version_before) = (0, None);
                new.push((device, update));
            }
        }
        let made = write.insert_updates(&mut new).await?;
        write.commit().await?;
        // Killed here, the sweep of the next process finds them.
        for (device, _) in &new {
            self.0.events.device(&device.id);
            let artifact = offers.remove(&device.id.0).map(|(_, artifact)| artifact);
            offered.extend(device.update_id.zip(artifact));
        }
        self.0.queue.push(made);
        Ok(offers.into_keys().collect())
    }

    fn new_update(
        &self,
        device: &DeviceRow,
        product: ProductName,
        artifact: &Artifact,
        wish: &Wish,
    ) -> anyhow::Result<UpdateRow> {
        let (now, Wish { how, target }) = (now_ms(), wish);
        let toward = target.as_ref().map(|target| &target.version).filter(|to| **to != artifact.version);
        let expires_at = how.kept_s.map(|seconds| now + i64::from(seconds) * 1000);
        // It ends then, unless it is sent before.
        let heard_at = expires_at.map_or(now, |at| at - i64::from(self.0.update_timeout_s) * 1000);
        let (id, to, key) = (device.id.0.clone(), artifact.version.clone(), artifact.key.clone());
        Ok(UpdateRow {
            from_version: device.said().map(str::to_owned),
            sha256: artifact.sha256.map(Into::into),
            bytes: i64::try_from(artifact.size)?,
            forced: how.force,
            outcome_before: device.last_outcome.clone(),
            heard_at,
            expires_at,
            rollout: target.as_ref().map(|target| target.rollout),
            toward: toward.cloned().map(Into::into),
            timeout_s: target.as_ref().map_or(0, |target| target.timeout_s.into()),
            ..UpdateRow::offered(id, product, to, key, now)
        })
    }
}

/// Why a device is to be offered nothing, or one version alone.
fn kept(device: &DeviceRow, newest: Option<&UpdateRow>) -> Option<Kept> {
    if device.are_twins(now_ms()) {
        return Some(Kept::Twins);
    }
    if let Some(pin) = &device.pin {
        let by = device.pin_by.clone().unwrap_or_default();
        let to = Some(pin.as_str()).filter(|pin| *pin != HOLD).and_then(Version::said);
        return Some(Kept::Pinned { to, by, why: device.pin_why.clone() });
    }
    let newest = newest.filter(|update| update.state == UpdateState::Failed)?;
    let cause = newest.cause.as_ref().filter(|cause| cause.is(ends::OTHER_VERSION_RUNS))?;
    let is_running = device.version.as_ref().is_some_and(|version| cause.text("version") == version.as_str());
    newest.sha256.filter(|_| is_running && device.sha256.is_none()).map(|sha256| Kept::OtherName(sha256.0))
}
