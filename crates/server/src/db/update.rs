//! Updates: one row an attempt. They are written by those who have locked the device.

use std::collections::{HashMap, HashSet};

use cause::{Cause, update as ends};
use contract::{Code, DeviceId, LastOutcome, Phase, ProductName, Sha256, Version};
use fleet::{UpdateState, Why};
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue, Condition, ExprTrait, FromQueryResult, QueryOrder, QuerySelect};
use serde_json::{Value, json};

use super::audit_entry::Action;
use super::connection::{Query, ROWS_PER_STATEMENT, Write};
use super::device::DeviceRow;
use super::locked::{Locked, compared};
use super::moved::Moved;
use super::update_event::UpdateEventRow;
use super::values::Text;

/// Maximum number of events of an update that are kept.
const EVENTS_MAX: i64 = 500;

pub(crate) type UpdateRow = Model;

/// An update; with each of its columns.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "updates")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) id: i64,
    pub(crate) device: Text<DeviceId>,
    pub(crate) product: Text<ProductName>,
    /// As the device said it.
    pub(crate) from_version: Option<String>,
    pub(crate) to_version: Text<Version>,
    /// The object that is signed, again for each request.
    pub(crate) object_key: String,
    pub(crate) sha256: Option<Text<Sha256>>,
    pub(crate) bytes: i64,
    pub(crate) state: Text<UpdateState>,
    /// What a device said of its end, and the sentences of the versions before `cause`.
    pub(crate) reason: String,
    /// Why it ended, where the server found it out.
    pub(crate) cause: Option<Text<Cause>>,
    pub(crate) phase: Option<Text<Phase>>,
    pub(crate) done: i64,
    /// To be sent despite silence.
    pub(crate) forced: bool,
    /// The outcome that the device had reported by then: reported again, it is no news.
    pub(crate) outcome_before: Option<Text<LastOutcome>>,
    pub(crate) url_requests: i64,
    /// It counts for the quarantine.
    pub(crate) image_at_fault: bool,
    /// The code of a refusal that would be the same again: three of an image, and it is not offered there any more.
    pub(crate) lasting_refusal: Option<Text<Code>>,
    pub(crate) created_at: i64,
    /// The time-out counts from here.
    pub(crate) heard_at: i64,
    /// `None` while a trigger is to be sent.
    pub(crate) triggered_at: Option<i64>,
    pub(crate) finished_at: Option<i64>,
    /// Of which rollout it is.
    pub(crate) rollout: Option<i64>,
    /// That one's version, where this is only a step on the way to it.
    pub(crate) toward: Option<Text<Version>>,
    /// How long it may be silent, in seconds; 0 is what the configuration says.
    pub(crate) timeout_s: i64,
    /// Noted so far.
    pub(crate) event_count: i64,
    /// It succeeded by the device's word alone: no report of the target followed.
    pub(crate) believed: bool,
    /// Until then it is kept for a device that is not there, and then cancelled; or, once it was sent, for one that may sleep.
    pub(crate) expires_at: Option<i64>,
    /// The device asked to be left alone until then.
    pub(crate) deferred_until: Option<i64>,
    /// When it first did.
    pub(crate) deferred_since: Option<i64>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

compared! {
    Id: id,
    Device: device,
    Product: product,
    FromVersion: from_version,
    ToVersion: to_version,
    ObjectKey: object_key,
    Sha256: sha256,
    Bytes: bytes,
    State: state,
    Reason: reason,
    Cause: cause,
    Phase: phase,
    Done: done,
    Forced: forced,
    OutcomeBefore: outcome_before,
    UrlRequests: url_requests,
    ImageAtFault: image_at_fault,
    LastingRefusal: lasting_refusal,
    CreatedAt: created_at,
    HeardAt: heard_at,
    TriggeredAt: triggered_at,
    FinishedAt: finished_at,
    Rollout: rollout,
    Toward: toward,
    TimeoutS: timeout_s,
    EventCount: event_count,
    Believed: believed,
    ExpiresAt: expires_at,
    DeferredUntil: deferred_until,
    DeferredSince: deferred_since,
}

impl Model {
    /// One that is offered now, of an object whose digest and size are not known.
    pub(crate) fn offered(
        device: DeviceId,
        product: ProductName,
        to: Version,
        key: String,
        now: i64,
    ) -> Self {
        Self {
            id: 0,
            device: Text(device),
            product: Text(product),
            from_version: None,
            to_version: Text(to),
            object_key: key,
            sha256: None,
            bytes: 0,
            state: Text(UpdateState::Offered),
            reason: String::new(),
            cause: None,
            phase: None,
            done: 0,
            forced: false,
            outcome_before: None,
            url_requests: 0,
            image_at_fault: false,
            lasting_refusal: None,
            created_at: now,
            heard_at: now,
            triggered_at: None,
            finished_at: None,
            rollout: None,
            toward: None,
            timeout_s: 0,
            event_count: 0,
            believed: false,
            expires_at: None,
            deferred_until: None,
            deferred_since: None,
        }
    }

    /// Why it ended.
    pub(crate) fn why(&self) -> Option<Why> {
        why_of(&self.reason, self.cause.as_ref())
    }

    /// What stands in the device's row: 0, or the trigger is to be sent, 1 once the device is there, 2 despite silence.
    pub(crate) fn waiting(&self) -> i64 {
        let waits =
            self.state.is_in_flight() && self.triggered_at.is_none() && self.state != UpdateState::Deferred;
        if waits { 1 + i64::from(self.forced) } else { 0 }
    }

    /// Where this puts its device in the rollout that made it, if one did.
    fn moves(&self, device: &mut Locked<DeviceRow>) -> Option<Moved> {
        use UpdateState::{Cancelled, Failed, RolledBack, Succeeded, TimedOut};
        let was_sent = self.triggered_at.is_some() || self.url_requests > 0 || self.deferred_since.is_some();
        let is_put_off = self.cause.as_ref().is_some_and(|cause| cause.0.is(ends::PUT_OFF));
        let state = match self.state.0 {
            // Only a step on the way, or it is to be asked again.
            Succeeded if self.toward.is_some() => None,
            Cancelled if is_put_off => None,
            // It was not there: that says nothing of the version. One that was there and did not listen is not waited for.
            TimedOut if !was_sent => Some(Cancelled).filter(|_| device.online_epoch != 0),
            // Nor does what became of a step on the way.
            Failed | RolledBack | TimedOut if self.toward.is_some() => Some(Cancelled),
            state => Some(state),
        };
        Some(Moved::to(device, self.rollout?, self.id, state))
    }

    pub(crate) fn set_why(&mut self, why: Option<Why>) {
        (self.reason, self.cause) = match why {
            None => (String::new(), None),
            Some(Why::Device(said)) => (said, None),
            Some(Why::Cause(cause)) => (String::new(), Some(Text(cause))),
        };
    }
}

pub(crate) fn why_of(reason: &str, cause: Option<&Text<Cause>>) -> Option<Why> {
    let said = || (!reason.is_empty()).then(|| Why::Device(reason.to_owned()));
    cause.map(|Text(cause)| Why::Cause(cause.clone())).or_else(said)
}

pub(crate) async fn by_ids(query: &impl Query, ids: &[i64]) -> Result<Vec<UpdateRow>, DbErr> {
    let mut updates = Vec::with_capacity(ids.len());
    for ids in ids.chunks(ROWS_PER_STATEMENT) {
        let of = Column::Id.is_in(ids.iter().copied());
        updates.extend(Entity::find().filter(of).all(query.connection()).await?);
    }
    Ok(updates)
}

pub(crate) async fn by_id(query: &impl Query, id: i64) -> Result<Option<UpdateRow>, DbErr> {
    Entity::find_by_id(id).one(query.connection()).await
}

/// A device's updates, the newest first, below an id.
pub(crate) async fn of_device(
    query: &impl Query,
    device: &DeviceId,
    below: i64,
    limit: u64,
) -> Result<Vec<UpdateRow>, DbErr> {
    let of = Column::Device.eq(device.as_str()).and(Column::Id.lt(below));
    Entity::find().filter(of).order_by_desc(Column::Id).limit(limit).all(query.connection()).await
}

/// Those of which the clock of silence runs. The condition repeats that of the partial index letter by letter, or neither database uses it.
pub(super) const IN_FLIGHT: &str = "state IN ('offered', 'downloading', 'restarting')";

/// Those that their devices put off; the condition is that of a partial index, too.
pub(super) const DEFERRED: &str = "state = 'deferred'";

/// Those of these devices that are offered, and of which the trigger was sent.
pub(crate) async fn offered(query: &impl Query, devices: &[DeviceId]) -> Result<Vec<UpdateRow>, DbErr> {
    let mut updates = Vec::new();
    for devices in devices.chunks(ROWS_PER_STATEMENT) {
        let of = Column::Device.is_in(devices.iter().map(DeviceId::as_str)).and(Expr::cust(IN_FLIGHT));
        let of =
            of.and(Column::State.eq(UpdateState::Offered.as_str())).and(Column::TriggeredAt.is_not_null());
        updates.extend(Entity::find().filter(of).all(query.connection()).await?);
    }
    Ok(updates)
}

/// Those in flight, by device.
pub(crate) async fn in_flight(
    query: &impl Query,
    is_deferred: bool,
    above: &str,
    limit: u64,
) -> Result<Vec<UpdateRow>, DbErr> {
    let state = if is_deferred { DEFERRED } else { IN_FLIGHT };
    let next = Condition::all().add(Expr::cust(state)).add(Column::Device.gt(above));
    Entity::find().filter(next).order_by_asc(Column::Device).limit(limit).all(query.connection()).await
}

#[derive(FromQueryResult)]
struct Image {
    device: Text<DeviceId>,
    sha256: Text<Sha256>,
    lasting_refusal: Option<Text<Code>>,
}

/// Images that are not offered to a device any more.
#[derive(Debug, Default)]
pub(crate) struct Failed {
    /// Failed twice or more by their own fault.
    pub(crate) quarantined: Vec<Sha256>,
    /// Refused three times or more for the same reason, which lasts.
    pub(crate) refused: Vec<(Sha256, Code)>,
}

/// The images that are not offered to these devices any more, in order.
pub(crate) async fn failed(
    query: &impl Query,
    devices: &[DeviceId],
) -> Result<HashMap<DeviceId, Failed>, DbErr> {
    let mut failed = HashMap::<_, Failed>::new();
    for devices in devices.chunks(ROWS_PER_STATEMENT) {
        let at_fault = Column::ImageAtFault.eq(true).or(Column::LastingRefusal.is_not_null());
        let at_fault = at_fault.and(Column::Sha256.is_not_null());
        let of = Column::Device.is_in(devices.iter().map(DeviceId::as_str));
        let images = Entity::find()
            .select_only()
            .columns([Column::Device, Column::Sha256, Column::LastingRefusal])
            .filter(of.and(at_fault))
            .group_by(Column::Device)
            .group_by(Column::Sha256)
            .group_by(Column::LastingRefusal)
            .having(Expr::cust("COUNT(*) >= CASE WHEN lasting_refusal IS NULL THEN 2 ELSE 3 END"))
            .order_by_asc(Column::Sha256)
            .order_by_asc(Column::LastingRefusal)
            .into_model::<Image>();
        for image in images.all(query.connection()).await? {
            let of = failed.entry(image.device.0).or_default();
            match image.lasting_refusal {
                None => of.quarantined.push(image.sha256.0),
                Some(Text(code)) => of.refused.push((image.sha256.0, code)),
            }
        }
    }
    Ok(failed)
}

fn event(update: &UpdateRow, kind: &str, from: Option<Text<UpdateState>>, at: i64) -> UpdateEventRow {
    UpdateEventRow {
        id: 0,
        update_id: update.id,
        at,
        kind: kind.to_owned(),
        actor_kind: String::new(),
        actor: String::new(),
        from_state: from,
        to_state: update.state,
        reason: update.reason.clone(),
        cause: update.cause.clone(),
        phase: update.phase,
        done: update.done,
    }
}

impl Locked<UpdateRow> {
    /// Notes what has just changed it, to be written with it, up to [`EVENTS_MAX`] times: a device may say anything, as
    /// often as it likes, and leaves some for how it ends and who ends it.
    pub(crate) fn note(&mut self, kind: &str, at: i64) {
        let most = if matches!(kind, "progress" | "request") { EVENTS_MAX - 50 } else { EVENTS_MAX };
        if self.event_count >= most {
            return;
        }
        self.event_count += 1;
        let before = self.events.last().map_or(self.read().state, |event| event.to_state);
        self.events.push(event(self, kind, Some(before), at));
    }
}

impl Write {
    /// The newest updates of locked devices, by number.
    pub(crate) async fn newest_updates(
        &self,
        devices: &[Locked<DeviceRow>],
    ) -> Result<HashMap<i64, Locked<UpdateRow>>, DbErr> {
        let ids: Vec<i64> = devices.iter().filter_map(|device| device.update_id).collect();
        let updates = by_ids(self, &ids).await?;
        Ok(updates.into_iter().map(|update| (update.id, Locked::new(update))).collect())
    }

    /// An update, whose device is locked with it.
    pub(crate) async fn lock_update(
        &self,
        id: i64,
    ) -> Result<Option<(Locked<DeviceRow>, Locked<UpdateRow>)>, DbErr> {
        // Whose it is never changes, so that it can be asked before the lock.
        let Some(update) = by_id(self, id).await? else { return Ok(None) };
        let Some(device) = self.lock_device(&update.device).await? else { return Ok(None) };
        Ok(by_id(self, id).await?.map(|update| (device, Locked::new(update))))
    }

    /// Of these updates, those of devices that could be locked, each with its device.
    pub(crate) async fn lock_updates(
        &self,
        updates: impl Iterator<Item = &UpdateRow>,
    ) -> Result<Vec<(Locked<DeviceRow>, Locked<UpdateRow>)>, DbErr> {
        let (ids, devices): (Vec<i64>, Vec<DeviceId>) =
            updates.map(|update| (update.id, update.device.0.clone())).unzip();
        let devices = self.lock_devices(&devices).await?;
        let mut devices: HashMap<DeviceId, _> =
            devices.into_iter().map(|device| (device.id.0.clone(), device)).collect();
        let updates = by_ids(self, &ids).await?;
        let with_device = |update: UpdateRow| Some((devices.remove(&update.device.0)?, Locked::new(update)));
        Ok(updates.into_iter().filter_map(with_device).collect())
    }

    /// Makes updates, the newest ones of these devices, and answers their numbers: audited as the offers that they are. Whoever has
    /// locked the devices knows that nothing is in flight for them.
    pub(crate) async fn insert_updates(
        &mut self,
        new: &mut [(&mut Locked<DeviceRow>, UpdateRow)],
    ) -> Result<Vec<i64>, DbErr> {
        let (mut offered, mut moved) = (Vec::with_capacity(new.len()), Vec::new());
        for new in new.chunks_mut(ROWS_PER_STATEMENT) {
            let rows =
                new.iter().map(|(_, row)| ActiveModel { id: ActiveValue::NotSet, ..row.clone().into() });
            let made = Entity::insert_many(rows).exec_with_returning(self.connection()).await?;
            let made: HashMap<_, _> = made.into_iter().map(|row| (row.device.0.clone(), row.id)).collect();
            for (device, update) in &mut *new {
                update.id = made.get(&device.id.0).copied().ok_or(DbErr::RecordNotInserted)?;
                device.update_id = Some(update.id);
                device.update_state = Some(update.state);
                device.waiting = update.waiting();
                // What a rollout offers, somebody asked for once.
                if update.rollout.is_none() {
                    let after = json!({ "version": *update.to_version, "forced": update.forced });
                    self.audit(Action::DEVICE_CHECK, &device.id.0, Value::Null, after);
                }
                offered.push(event(update, "offered", None, update.created_at));
                moved.extend(update.moves(device));
            }
        }
        self.move_members(&moved, true).await?;
        self.insert_events(&offered).await?;
        self.save(new.iter_mut().map(|(device, _)| (&mut **device, None))).await?;
        Ok(offered.into_iter().map(|event| event.update_id).collect())
    }

    /// Writes what changed of devices and of updates of theirs. A device has the state of its newest update.
    pub(crate) async fn save<'a>(
        &self,
        rows: impl Iterator<Item = (&'a mut Locked<DeviceRow>, Option<&'a Locked<UpdateRow>>)>,
    ) -> Result<(), DbErr> {
        let (mut devices, mut updates, mut moved) = (Vec::new(), Vec::new(), Vec::new());
        for (device, update) in rows {
            let changed = update.filter(|update| update.state != update.read().state);
            moved.extend(changed.and_then(|update| update.moves(device)));
            if let Some(update) = update.filter(|update| device.update_id == Some(update.id)) {
                device.update_state = Some(update.state);
                device.waiting = update.waiting();
            }
            devices.push(device);
            updates.extend(update);
        }
        self.save_changes(super::device::Column::Id, devices.iter().map(|device| &**device)).await?;
        devices.into_iter().for_each(Locked::saved);
        self.move_members(&moved, false).await?;
        let events: Vec<_> = updates.iter().flat_map(|update| update.events.iter().cloned()).collect();
        self.save_changes(Column::Id, updates.into_iter()).await?;
        self.insert_events(&events).await
    }

    pub(crate) async fn save_device(&self, device: &mut Locked<DeviceRow>) -> Result<(), DbErr> {
        self.save(std::iter::once((device, None))).await
    }

    /// Forgets updates that were made before a time and have ended, but the newest one of each device and those that count against
    /// an image. Looks through some, in their order, and answers which is the last of them; `None` if there are no more.
    pub(crate) async fn forget_updates(&self, before: i64, above: i64) -> Result<Option<i64>, DbErr> {
        let next = Entity::find().filter(Column::Id.gt(above)).order_by_asc(Column::Id);
        let page = next.limit(ROWS_PER_STATEMENT as u64).all(self.connection()).await?;
        let Some(last) = page.iter().take_while(|update| update.created_at < before).last() else {
            return Ok(None);
        };
        // One that has ended changes no more, unless it is its device's newest.
        let is_over = |update: &&UpdateRow| {
            let is_accusing = update.image_at_fault || update.lasting_refusal.is_some();
            update.finished_at.is_some() && !is_accusing
        };
        let old: Vec<&UpdateRow> =
            page.iter().take_while(|update| update.id <= last.id).filter(is_over).collect();
        let devices: Vec<DeviceId> = old.iter().map(|update| update.device.0.clone()).collect();
        let newest: HashSet<i64> =
            self.lock_devices(&devices).await?.iter().filter_map(|device| device.update_id).collect();
        let ids: Vec<i64> = old.iter().map(|update| update.id).filter(|id| !newest.contains(id)).collect();
        if !ids.is_empty() {
            Entity::delete_many().filter(Column::Id.is_in(ids)).exec(self.connection()).await?;
        }
        Ok(Some(last.id))
    }

    /// Forgets which images failed on a device.
    pub(crate) async fn clear_faults(&self, device: &Locked<DeviceRow>) -> Result<(), DbErr> {
        Entity::update_many()
            .col_expr(Column::ImageAtFault, Expr::value(false))
            .col_expr(Column::LastingRefusal, Expr::value(Option::<String>::None))
            .filter(Column::Device.eq(device.id.clone()))
            .filter(Column::ImageAtFault.eq(true).or(Column::LastingRefusal.is_not_null()))
            .exec(self.connection())
            .await
            .map(|_| ())
    }
}
