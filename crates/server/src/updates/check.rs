//! Check update, for one device or many: a snapshot of devices and store, the plan, and the updates that are made of it, up to 500 in
//! one transaction. The sender does the rest.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use api::CheckAnswer;
use cause::{decision as causes, service};
use contract::{ChannelName, DeviceId, ProductName};
use fleet::{Action, Artifact, Decision, DeviceView, Reach, Snapshot, StoreView, Subject, UpdateState};
use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use super::questions::{Questions, plan_with};
use super::service::{BATCH, Updates, flight_of};
use crate::actor::Actor;
use crate::clock::now_ms;
use crate::db::device::{self, DeviceRow};
use crate::db::update::{self, UpdateRow};
use crate::error::Error;
use crate::mqtt::LinkState;
use crate::releases::STORE_TIMEOUT;

/// Maximum attempts: the device may report something else between the decision and the offer.
const ATTEMPTS: u32 = 3;
/// How long the answer waits for the trigger to be sent.
const SENT_TIMEOUT: Duration = Duration::from_secs(2);

/// What is offered to devices, as they were when it was decided.
type Offers = HashMap<DeviceId, (DeviceRow, Artifact)>;

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
        let (mut answers, mut offered) = (BTreeMap::new(), Offers::new());
        for ids in ids.chunks(BATCH) {
            let mut open = ids.to_vec();
            for _ in 0..ATTEMPTS {
                if open.is_empty() {
                    break;
                }
                let offers = self.decide(&open, force, &mut answers).await?;
                open = self.offer(by, offers, force, &mut offered).await?;
            }
        }
        let made: Vec<i64> = offered.values().filter_map(|(device, _)| device.update_id).collect();
        if *self.0.link.borrow() == LinkState::Up {
            self.0.queue.wait(&made, SENT_TIMEOUT).await;
        }
        for row in update::by_ids(&self.0.db, &made).await? {
            if let Some((id, (_, artifact))) = offered.remove_entry(&row.device.0) {
                answers.insert(id, self.answer(&Decision::Offered(artifact), Some(row)));
            }
        }
        Ok(answers)
    }

    /// Answers those that are not offered anything.
    async fn decide(
        &self,
        ids: &[DeviceId],
        force: bool,
        answers: &mut BTreeMap<DeviceId, CheckAnswer>,
    ) -> Result<Offers, Error> {
        let devices = device::by_ids(&self.0.db, ids).await?;
        let newest: Vec<i64> = devices.iter().filter_map(|device| device.update_id).collect();
        let newest = update::by_ids(&self.0.db, &newest).await?;
        let mut newest: HashMap<i64, UpdateRow> = newest.into_iter().map(|row| (row.id, row)).collect();
        let mut failed = update::failed(&self.0.db, ids).await?;
        let usual = self.0.releases.default_product(&self.0.db).await?;
        let subject = |device: &DeviceRow| {
            let update = device.update_id.and_then(|id| newest.get(&id));
            let update = update.filter(|update| update.state.is_in_flight());
            let mut view = self.view(device, update, force);
            let failed = failed.remove(&device.id.0).unwrap_or_default();
            (view.quarantined, view.refused) = (failed.quarantined, failed.refused);
            let flight = update.map(flight_of);
            let product = product_of(device, usual.as_ref());
            (device.id.0.clone(), Subject { product, flight, asks: Some(view) })
        };
        let subjects = devices.iter().map(subject).collect();
        let mut devices: HashMap<_, _> =
            devices.into_iter().map(|device| (device.id.0.clone(), device)).collect();
        let mut offers = Offers::new();
        for action in self.plan(subjects).await {
            match action {
                Action::Answer { device, decision } => {
                    let update = devices.get(&device).and_then(|device| device.update_id);
                    let update = update.and_then(|id| newest.remove(&id));
                    answers.insert(device, self.answer(&decision, update));
                }
                Action::Offer { device, artifact } => {
                    offers.extend(devices.remove_entry(&device).map(|(id, row)| (id, (row, artifact))));
                }
                _ => {}
            }
        }
        Ok(offers)
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
            chip: report.and_then(|report| report.chip.clone()),
            slot_bytes: report.and_then(|report| report.slot_bytes).map(u64::from),
            in_progress: in_flight.map(|update| update.to_version.0.clone()),
            reach,
            quarantined: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// What the devices' side decides alone costs no request to the store; the rest costs one look for each product.
    async fn plan(&self, subjects: BTreeMap<DeviceId, Subject>) -> Vec<Action> {
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
        let looks = products.into_iter().map(async |(product, mut snapshot)| {
            let questions = Questions {
                store: self.0.releases.store(),
                product: &product,
                channel: ChannelName::production(),
                corrupt: &self.0.corrupt,
                deadline: Instant::now() + STORE_TIMEOUT,
            };
            timeout(STORE_TIMEOUT, questions.plan(&mut snapshot)).await.unwrap_or_else(|_| {
                let why = causes::STORE_TIMEOUT.with("seconds", STORE_TIMEOUT.as_secs());
                plan_with(&mut snapshot, &product, StoreView::Unavailable(why))
            })
        });
        planned.extend(join_all(looks).await.into_iter().flatten());
        planned
    }
}

impl Updates {
    /// Makes the updates, in one transaction. Answers the devices of which what was decided upon is no longer so.
    async fn offer(
        &self,
        by: &Actor,
        mut offers: Offers,
        forced: bool,
        offered: &mut Offers,
    ) -> Result<Vec<DeviceId>, Error> {
        if offers.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<DeviceId> = offers.keys().cloned().collect();
        let mut write = self.0.db.write(by).await?;
        let mut devices = write.lock_devices(&ids).await?;
        let usual = self.0.releases.default_product(&write).await?;
        let mut new = Vec::with_capacity(devices.len());
        for device in &mut devices {
            let Some((then, artifact)) = offers.get(&device.id.0) else { continue };
            let is_same = device.version == then.version
                && device.product == then.product
                && device.update_id == then.update_id;
            if let Some(product) = product_of(device, usual.as_ref()).filter(|_| is_same) {
                let update = new_update(device, product, artifact, forced)?;
                new.push((device, update));
            }
        }
        let made = write.insert_updates(&mut new).await?;
        write.commit().await?;
        // Killed here, the sweep of the next process finds them.
        for (device, _) in &new {
            self.0.events.device(&device.id);
            if let Some((id, (_, artifact))) = offers.remove_entry(&device.id.0) {
                offered.insert(id, (DeviceRow::clone(device), artifact));
            }
        }
        self.0.queue.push(made);
        Ok(offers.into_keys().collect())
    }
}

fn product_of(device: &DeviceRow, usual: Option<&ProductName>) -> Option<ProductName> {
    device.product.clone().map(|product| product.0).or_else(|| usual.cloned())
}

fn new_update(
    device: &DeviceRow,
    product: ProductName,
    artifact: &Artifact,
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
        lasting_refusal: None,
        created_at: now,
        heard_at: now,
        triggered_at: None,
        finished_at: None,
        event_count: 0,
    })
}
