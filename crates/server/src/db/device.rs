//! Devices: read, locked, registered, removed.
//!
//! Who writes anything of a device or of its updates locks the device first ([`Write::lock_devices`]).

use std::collections::HashSet;

use api::DeviceReport;
use contract::{DeviceId, LastOutcome, ProductName, Sha256, Version};
use fleet::UpdateState;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{OnConflict, Query as Sql};
use sea_orm::{ConnectionTrait, ExprTrait, IntoActiveModel, QueryOrder, QuerySelect};

use super::connection::{Db, Query, ROWS_PER_STATEMENT, Write};
use super::locked::{Locked, compared};
use super::presence::KnownPresence;
use super::values::Text;

pub(crate) type DeviceRow = Model;

/// After so many returns to the version before, two devices use one id; each of them at most so long after the one before.
const TWIN_RETURNS: i64 = 3;
const TWIN_MS: i64 = 3_600_000;

/// A device; with each of its columns.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "devices")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: Text<DeviceId>,
    pub(crate) product: Option<Text<ProductName>>,
    /// A person chose the product: what the device reports does not change it.
    pub(crate) product_is_set: bool,
    /// Of its MQTT password, if it is registered.
    pub(crate) password_sha256: Option<String>,
    pub(crate) version: Option<Text<Version>>,
    /// How the device spells that, where it is another spelling.
    pub(crate) version_said: Option<String>,
    pub(crate) sha256: Option<Text<Sha256>>,
    /// `None` where it reports bare versions.
    pub(crate) report: Option<Text<DeviceReport>>,
    /// Of the last report's payload: a retained one that is the same says nothing new.
    pub(crate) report_digest: Option<String>,
    /// Of the report: the smallest of a product is found by it.
    pub(crate) slot_bytes: Option<i64>,
    pub(crate) last_outcome: Option<Text<LastOutcome>>,
    pub(crate) presence: Option<Text<KnownPresence>>,
    pub(crate) last_seen: Option<i64>,
    pub(crate) unreadable_count: i64,
    pub(crate) unreadable_last: Option<String>,
    pub(crate) unreadable_at: Option<i64>,
    /// The newest update, and its state.
    pub(crate) update_id: Option<i64>,
    pub(crate) update_state: Option<Text<UpdateState>>,
    /// Of the newest update: whether its trigger is to be sent ([`super::update::UpdateRow::waiting`]).
    pub(crate) waiting: i64,
    /// Online exactly if this is the present epoch.
    pub(crate) online_epoch: i64,
    /// The rollout that looks for it: it waits in a step that has begun.
    pub(crate) rollout: Option<i64>,
    pub(crate) created_at: i64,
    /// What it reported before its present version, how often that came back, and when last.
    pub(crate) version_before: Option<Text<Version>>,
    pub(crate) returns: i64,
    pub(crate) returned_at: Option<i64>,
    pub(crate) group_name: Option<String>,
    /// It is offered nothing else than this version; or nothing at all: [`api::HOLD`]. By whom, and why.
    pub(crate) pin: Option<String>,
    pub(crate) pin_by: Option<String>,
    pub(crate) pin_why: Option<String>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

compared! {
    Id: id,
    Product: product,
    ProductIsSet: product_is_set,
    PasswordSha256: password_sha256,
    Version: version,
    VersionSaid: version_said,
    Sha256: sha256,
    Report: report,
    ReportDigest: report_digest,
    SlotBytes: slot_bytes,
    LastOutcome: last_outcome,
    Presence: presence,
    LastSeen: last_seen,
    UnreadableCount: unreadable_count,
    UnreadableLast: unreadable_last,
    UnreadableAt: unreadable_at,
    UpdateId: update_id,
    UpdateState: update_state,
    Waiting: waiting,
    OnlineEpoch: online_epoch,
    Rollout: rollout,
    CreatedAt: created_at,
    VersionBefore: version_before,
    Returns: returns,
    ReturnedAt: returned_at,
    GroupName: group_name,
    Pin: pin,
    PinBy: pin_by,
    PinWhy: pin_why,
}

impl Model {
    pub(crate) fn new(id: DeviceId, created_at: i64) -> Self {
        Self {
            id: Text(id),
            product: None,
            product_is_set: false,
            password_sha256: None,
            version: None,
            version_said: None,
            sha256: None,
            report: None,
            report_digest: None,
            slot_bytes: None,
            last_outcome: None,
            presence: None,
            last_seen: None,
            unreadable_count: 0,
            unreadable_last: None,
            unreadable_at: None,
            update_id: None,
            update_state: None,
            waiting: 0,
            online_epoch: 0,
            rollout: None,
            created_at,
            version_before: None,
            returns: 0,
            returned_at: None,
            group_name: None,
            pin: None,
            pin_by: None,
            pin_why: None,
        }
    }
}

impl Model {
    /// What it runs, as it says it.
    pub(crate) fn said(&self) -> Option<&str> {
        self.version_said.as_deref().or(self.version.as_ref().map(|version| version.as_str()))
    }

    /// Two devices use this id: what it reports goes to and fro, without anything that was offered.
    pub(crate) fn are_twins(&self, now: i64) -> bool {
        self.returns >= TWIN_RETURNS && !self.is_return_old(now)
    }

    pub(crate) fn is_return_old(&self, now: i64) -> bool {
        self.returned_at.is_none_or(|at| !(0..TWIN_MS).contains(&(now - at)))
    }

    /// It runs what is spelled like this here.
    pub(crate) fn runs(&mut self, version: &Version) {
        (self.version, self.version_said) = (Some(version.clone().into()), None);
    }
}

fn of(ids: &[DeviceId]) -> Select<Entity> {
    Entity::find().filter(Column::Id.is_in(ids.iter().map(DeviceId::as_str)))
}

pub(crate) async fn by_ids(query: &impl Query, ids: &[DeviceId]) -> Result<Vec<DeviceRow>, DbErr> {
    let mut devices = Vec::with_capacity(ids.len());
    for ids in ids.chunks(ROWS_PER_STATEMENT) {
        devices.extend(of(ids).all(query.connection()).await?);
    }
    Ok(devices)
}

pub(crate) async fn by_id(query: &impl Query, id: &DeviceId) -> Result<Option<DeviceRow>, DbErr> {
    Ok(by_ids(query, std::slice::from_ref(id)).await?.pop())
}

/// Which of these devices are known.
pub(crate) async fn known(query: &impl Query, ids: &[DeviceId]) -> Result<HashSet<DeviceId>, DbErr> {
    let mut known = HashSet::with_capacity(ids.len());
    for ids in ids.chunks(ROWS_PER_STATEMENT) {
        let ids = of(ids).select_only().column(Column::Id).into_tuple::<Text<DeviceId>>();
        known.extend(ids.all(query.connection()).await?.into_iter().map(|Text(id)| id));
    }
    Ok(known)
}

impl Db {
    /// The digest of a device's MQTT password, if it is registered.
    pub(crate) async fn device_password(&self, id: &DeviceId) -> Result<Option<String>, DbErr> {
        let row: Option<Option<String>> = Entity::find_by_id(id.clone())
            .select_only()
            .column(Column::PasswordSha256)
            .into_tuple()
            .one(self.connection())
            .await?;
        Ok(row.flatten())
    }
}

impl Write {
    /// Locks devices, in the order of their ids, and answers those that are there, as they are now. Whoever writes anything
    /// of a device or of its updates does this first; two that lock in this order never wait for each other. On SQLite the
    /// transaction is the lock, and nothing is added.
    pub(crate) async fn lock_devices(&self, ids: &[DeviceId]) -> Result<Vec<Locked<DeviceRow>>, DbErr> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        let mut devices = Vec::with_capacity(ids.len());
        for ids in ids.chunks(ROWS_PER_STATEMENT) {
            let rows = of(ids).order_by_asc(Column::Id).lock_exclusive().all(self.connection()).await?;
            devices.extend(rows.into_iter().map(Locked::new));
        }
        Ok(devices)
    }

    pub(crate) async fn lock_device(&self, id: &DeviceId) -> Result<Option<Locked<DeviceRow>>, DbErr> {
        Ok(self.lock_devices(std::slice::from_ref(id)).await?.pop())
    }

    /// Makes devices known, as new ones. Those that somebody else made known meanwhile stay as they are. Done before anything
    /// is locked: who inserts waits for others who insert the same, and those may lock by then.
    pub(crate) async fn insert_devices(&self, mut ids: Vec<DeviceId>, now: i64) -> Result<(), DbErr> {
        ids.sort_unstable();
        ids.dedup();
        if self.is_sqlite() {
            // Its table of trigrams has no key of its own.
            let known = known(self, &ids).await?;
            ids.retain(|id| !known.contains(id));
        }
        for ids in ids.chunks(ROWS_PER_STATEMENT) {
            let rows = ids.iter().map(|id| DeviceRow::new(id.clone(), now).into_active_model());
            let as_they_are = OnConflict::column(Column::Id).do_nothing().to_owned();
            Entity::insert_many(rows)
                .on_conflict(as_they_are)
                .exec_without_returning(self.connection())
                .await?;
            let mut indexed = Sql::insert();
            indexed.into_table("device_ids").columns(["id"]);
            for id in ids {
                indexed.values_panic([id.as_str().into()]);
            }
            if !self.is_sqlite() {
                indexed.on_conflict(OnConflict::new().do_nothing().to_owned());
            }
            self.connection().execute(&indexed).await?;
        }
        Ok(())
    }

    /// Counts a message that could not be read, without reading the device: that may be what fails.
    pub(crate) async fn count_unreadable(&self, id: &DeviceId, why: &str, now: i64) -> Result<(), DbErr> {
        let update = Entity::update_many()
            .col_expr(Column::UnreadableCount, Column::UnreadableCount.into_expr().add(1))
            .col_expr(Column::UnreadableLast, Expr::value(why))
            .col_expr(Column::UnreadableAt, Expr::value(now))
            .filter(Column::Id.eq(id.as_str()));
        update.exec(self.connection()).await.map(|_| ())
    }

    /// Forgets a device and its history.
    pub(crate) async fn remove_device(&self, device: Locked<DeviceRow>) -> Result<(), DbErr> {
        self.note_moved();
        if self.is_sqlite() {
            let sql = "DELETE FROM device_ids WHERE rowid IN (SELECT rowid FROM device_ids WHERE device_ids MATCH $1 AND id = $2)";
            let id = device.id.as_str();
            self.execute(sql, vec![format!("\"{id}\"").into(), id.into()]).await?;
        }
        Entity::delete_by_id(device.id.clone()).exec(self.connection()).await.map(|_| ())
    }
}
