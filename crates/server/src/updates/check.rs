//! Check update, for one device or many: a snapshot of devices and store, the plan, and the updates that are made of it, up to 500 in
//! one transaction. The sender does the rest.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use ::image::Chip;
use api::CheckAnswer;
use cause::{decision as causes, rollout, service};
use contract::{ChannelName, DeviceId, ProductName};
use fleet::{Action, Artifact, Decision, DeviceView, Reach, Snapshot, StoreView, Subject, UpdateState};
use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use super::questions::{Questions, plan_with};
use super::service::{BATCH, Updates, flight_of};
use super::wish::{Target, Wish};
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

/// What is offered to devices, with what was known of each when it was decided.
type Offers = HashMap<DeviceId, (Subject, Artifact)>;
/// What was decided of devices that were not offered anything, each with its newest update.
pub(super) type Decided = BTreeMap<DeviceId, (Decision, Option<UpdateRow>)>;

impl Updates {
    /// Decides what the device is offered now and, if it is something, makes the update and has the trigger sent.
    /// `force` sends it despite silence.
    #[crate::boxed]
    pub async fn check(&self, by: &Actor, id: &DeviceId, force: bool) -> Result<CheckAnswer, Error> {
        if let Some(answer) = self.check_many(by, std::slice::from_ref(id), force).await?.remove(id) {
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
        force: bool,
    ) -> Result<BTreeMap<DeviceId, CheckAnswer>, Error> {
        let (decided, mut offered) = self.offer_many(by, ids, &Wish { force, target: None }).await?;
        let answer = |(id, (decision, update))| (id, self.answer(&decision, update));
        let mut answers: BTreeMap<_, _> = decided.into_iter().map(answer).collect();
        let made: Vec<i64> = offered.keys().copied().collect();
        if *self.0.link.borrow() == LinkState::Up {
            self.0.queue.wait(&made, SENT_TIMEOUT).await;
        }
        for row in update::by_ids(&self.0.db, &made).await? {
            if let Some(artifact) = offered.remove(&row.id) {
                let id = row.device.0.clone();
                answers.insert(id, self.answer(&Decision::Offered(artifact), Some(row)));
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
    ) -> Result<(Decided, HashMap<i64, Artifact>), Error> {
        let (mut decided, mut offered) = (Decided::new(), HashMap::new());
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
        let wish = Wish { force: true, target: Some(target.clone()) };
        let mut decided = Decided::new();
        let offers = self.decide(ids, &wish, &mut decided).await?;
        let offered = offers.into_iter().map(|(id, (_, artifact))| (id, Decision::Offered(artifact)));
        Ok(offered.chain(decided.into_iter().map(|(id, (decision, _))| (id, decision))).collect())
    }

    /// Decides of those that are not offered anything.
    async fn decide(&self, ids: &[DeviceId], wish: &Wish, decided: &mut Decided) -> Result<Offers, Error> {
        let devices = device::by_ids(&self.0.db, ids).await?;
        let (mut subjects, mut newest) = self.subjects(&self.0.db, devices.iter(), wish.force).await?;
        if let Some(target) = &wish.target {
            let is_other =
                |_: &DeviceId, subject: &mut Subject| subject.product.as_ref() != Some(&target.product);
            for (device, _) in subjects.extract_if(.., is_other) {
                let cause = rollout::OTHER_PRODUCT.naming("product", &target.product);
                decided.insert(device, (Decision::NoRelease(cause), None));
            }
        }
        let mut offers = Offers::new();
        for action in self.plan(subjects.clone(), wish.target.as_ref()).await? {
            match action {
                Action::Answer { device, decision } => {
                    let update = newest.remove(&device);
                    decided.insert(device, (decision, update));
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
    async fn subjects(
        &self,
        query: &impl Query,
        devices: impl Iterator<Item = &DeviceRow>,
        force: bool,
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
            let mut view = self.view(device, update, force);
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

    fn view(&self, device: &DeviceRow, in_flight: Option<&UpdateRow>, force: bool) -> DeviceView {
        let reach = match (self.0.devices.presence().is_there(device) && self.is_linked(), force) {
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
            slot_bytes: report.and_then(|report| report.slot_bytes).map(u64::from),
            in_progress: in_flight.map(|update| update.to_version.0.clone()),
            reach,
            quarantined: Vec::new(),
            refused: Vec::new(),
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
                store: self.0.releases.store(),
                product: &product,
                channel: ChannelName::production(),
                wanted: target.map(|target| target.version.clone()),
                corrupt: &self.0.corrupt,
                blocked_images: &blocked_images,
                deadline: Instant::now() + STORE_TIMEOUT,
            };
            timeout(STORE_TIMEOUT, questions.plan(&mut snapshot)).await.unwrap_or_else(|_| {
                let why = causes::STORE_TIMEOUT.with("seconds", STORE_TIMEOUT.as_secs());
                plan_with(&mut snapshot, &product, StoreView::Unavailable(why))
            })
        });
        planned.extend(join_all(looks).await.into_iter().flatten());
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
        let (now, _) = self.subjects(&write, devices.iter().map(|device| &**device), wish.force).await?;
        let mut new = Vec::with_capacity(devices.len());
        for device in &mut devices {
            let Some((then, artifact)) = offers.get(&device.id.0) else { continue };
            // One that was offered it meanwhile is looked for no more.
            let is_wanted = wish.target.as_ref().is_none_or(|target| device.rollout == Some(target.rollout));
            let is_same = is_wanted && now.get(&device.id.0) == Some(then);
            if let Some(product) = then.product.clone().filter(|_| is_same) {
                let update = new_update(device, product, artifact, wish)?;
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
}

fn new_update(
    device: &DeviceRow,
    product: ProductName,
    artifact: &Artifact,
    wish: &Wish,
) -> anyhow::Result<UpdateRow> {
    let (now, target) = (now_ms(), wish.target.as_ref());
    Ok(UpdateRow {
        id: 0,
        device: device.id.clone(),
        product: product.into(),
        from_version: device.said().map(str::to_owned),
        to_version: artifact.version.clone().into(),
        object_key: artifact.key.clone(),
        sha256: artifact.sha256.map(Into::into),
        bytes: i64::try_from(artifact.size)?,
        state: UpdateState::Offered.into(),
        reason: String::new(),
        cause: None,
        phase: None,
        done: 0,
        forced: wish.force,
        outcome_before: device.last_outcome.clone(),
        url_requests: 0,
        image_at_fault: false,
        lasting_refusal: None,
        created_at: now,
        heard_at: now,
        triggered_at: None,
        finished_at: None,
        rollout: target.map(|target| target.rollout),
        toward: target
            .map(|target| &target.version)
            .filter(|to| **to != artifact.version)
            .cloned()
            .map(Into::into),
        timeout_s: target.map_or(0, |target| target.timeout_s.into()),
        event_count: 0,
    })
}
