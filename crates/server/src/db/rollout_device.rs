//! Which devices a rollout has, and where each of them is: written with the update that the rollout made for it.

use cause::Cause;
use contract::DeviceId;
use fleet::UpdateState;
use fleet::rollout::{Candidate, StepCounts};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Query as Sql;
use sea_orm::{ExprTrait, QueryOrder, QuerySelect, Set};

use super::connection::{Query, ROWS_PER_STATEMENT, Write};
use super::moved::WAITING;
use super::update::{IN_FLIGHT, UpdateRow};
use super::values::Text;

/// A device of a rollout; with each of its columns.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "rollout_devices")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) rollout: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) device: Text<DeviceId>,
    pub(crate) step: i64,
    pub(crate) state: String,
    pub(crate) update_id: Option<i64>,
    pub(crate) cause: Option<Text<Cause>>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub(super) const COUNTS: &str =
    "SELECT step, state, COUNT(*) AS devices FROM rollout_devices WHERE rollout = $1 GROUP BY step, state";

/// How many devices are where, by step and state: what the list is counted from.
pub(crate) async fn counts(query: &impl Query, rollout: i64) -> Result<Vec<(i64, String, u64)>, DbErr> {
    let count = |row: &QueryResult| {
        let devices: i64 = row.try_get("", "devices")?;
        Ok((row.try_get("", "step")?, row.try_get("", "state")?, devices.unsigned_abs()))
    };
    query.rows(COUNTS, vec![rollout.into()]).await?.iter().map(count).collect()
}

/// The same, as the planner has it.
pub(crate) fn by_step(counts: &[(i64, String, u64)], steps: usize) -> Vec<StepCounts> {
    let mut by_step = vec![StepCounts::default(); steps];
    for (step, state, devices) in counts {
        let Some(step) = usize::try_from(*step).ok().and_then(|step| by_step.get_mut(step)) else { continue };
        *match UpdateState::from_word(state) {
            // One that said "not now" holds no place.
            None | Some(UpdateState::Deferred) => &mut step.waiting,
            Some(UpdateState::Succeeded) => &mut step.succeeded,
            Some(UpdateState::Failed | UpdateState::RolledBack | UpdateState::TimedOut) => &mut step.failed,
            Some(UpdateState::Cancelled) => &mut step.cancelled,
            Some(_) => &mut step.in_flight,
        } += devices;
    }
    by_step
}

pub(super) const CANDIDATES: &str = "SELECT d.id AS device, r.step AS step FROM devices d \
    JOIN rollout_devices r ON r.rollout = d.rollout AND r.device = d.id \
    WHERE d.rollout = $1 AND d.online_epoch = $2 AND r.state = 'waiting' \
    AND COALESCE(d.update_state, '') NOT IN ('offered', 'deferred', 'downloading', 'restarting') ORDER BY d.id LIMIT $3";

/// Some of those who wait, in a step that has begun, and are online in this epoch, with no update in flight.
pub(crate) async fn candidates(
    query: &impl Query,
    rollout: i64,
    epoch: i64,
    limit: u64,
) -> Result<Vec<Candidate>, DbErr> {
    let rows = query.rows(CANDIDATES, vec![rollout.into(), epoch.into(), limit.into()]).await?;
    let candidate = |row: &QueryResult| {
        let device = row.try_get::<Text<DeviceId>>("", "device")?.0;
        Ok(Candidate { device, step: usize::try_from(row.try_get::<i64>("", "step")?).unwrap_or(usize::MAX) })
    };
    rows.iter().map(candidate).collect()
}

/// In a state, in the order of steps and ids, above one.
pub(crate) async fn in_state(
    query: &impl Query,
    rollout: i64,
    state: &str,
    above: (i64, &str),
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    let (step, device) = above;
    let next = Column::Step.gt(step).or(Column::Step.eq(step).and(Column::Device.gt(device)));
    let of = Column::Rollout.eq(rollout).and(Column::State.eq(state)).and(Column::Step.gte(step)).and(next);
    let page = Entity::find().filter(of).order_by_asc(Column::Step).order_by_asc(Column::Device);
    page.limit(limit).all(query.connection()).await
}

/// All of them, in the order of ids.
pub(crate) async fn page(
    query: &impl Query,
    rollout: i64,
    above: &str,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    let of = Column::Rollout.eq(rollout).and(Column::Device.gt(above));
    Entity::find().filter(of).order_by_asc(Column::Device).limit(limit).all(query.connection()).await
}

/// Of these devices, those that are in it.
pub(crate) async fn of_devices(
    query: &impl Query,
    rollout: i64,
    devices: &[DeviceId],
) -> Result<Vec<Model>, DbErr> {
    let mut found = Vec::new();
    for devices in devices.chunks(ROWS_PER_STATEMENT) {
        let of = Column::Rollout.eq(rollout).and(Column::Device.is_in(devices.iter().map(DeviceId::as_str)));
        found.extend(Entity::find().filter(of).all(query.connection()).await?);
    }
    Ok(found)
}

/// Of these devices, those that a rollout has which runs or is paused.
pub(crate) async fn taken(query: &impl Query, devices: &[DeviceId]) -> Result<Vec<DeviceId>, DbErr> {
    let mut taken = Vec::new();
    for devices in devices.chunks(ROWS_PER_STATEMENT) {
        let mut active = Sql::select();
        active.column("id").from("rollouts").and_where(Expr::col("state").is_in(["running", "paused"]));
        let of = Column::Device.is_in(devices.iter().map(DeviceId::as_str));
        let found = Entity::find().select_only().column(Column::Device).filter(of);
        let found = found.filter(Column::Rollout.in_subquery(active)).into_tuple::<Text<DeviceId>>();
        taken.extend(found.all(query.connection()).await?.into_iter().map(|Text(id)| id));
    }
    Ok(taken)
}

/// A rollout that has devices of this one and runs or is paused: its number and version, how many, and one of them.
pub(crate) async fn overlap(
    query: &impl Query,
    rollout: i64,
) -> Result<Option<(i64, String, i64, String)>, DbErr> {
    let sql = "SELECT o.id AS id, o.version AS version, COUNT(*) AS devices, MIN(n.device) AS first \
               FROM rollout_devices n JOIN rollout_devices m ON m.device = n.device AND m.rollout <> n.rollout \
               JOIN rollouts o ON o.id = m.rollout AND o.state IN ('running', 'paused') \
               WHERE n.rollout = $1 GROUP BY o.id, o.version ORDER BY o.id LIMIT 1";
    let row = query.row(sql, vec![rollout.into()]).await?;
    let read = |row: QueryResult| {
        Ok((
            row.try_get("", "id")?,
            row.try_get("", "version")?,
            row.try_get("", "devices")?,
            row.try_get("", "first")?,
        ))
    };
    row.map(read).transpose()
}

/// Updates of a rollout that were offered and of which no trigger was sent, or which their devices put off.
pub(crate) async fn unsent(query: &impl Query, rollout: i64, limit: u64) -> Result<Vec<i64>, DbErr> {
    let sql = format!(
        "SELECT u.id AS id FROM rollout_devices r JOIN updates u ON u.id = r.update_id \
         WHERE r.rollout = $1 AND ((r.state = 'offered' AND u.triggered_at IS NULL AND u.url_requests = 0 AND u.{IN_FLIGHT}) \
         OR (r.state = 'deferred' AND u.state = 'deferred')) LIMIT $2"
    );
    let rows = query.rows(&sql, vec![rollout.into(), limit.into()]).await?;
    rows.iter().map(|row| row.try_get("", "id")).collect()
}

/// The newest failures, with what is said of each.
pub(crate) async fn failures(query: &impl Query, rollout: i64, limit: u64) -> Result<Vec<UpdateRow>, DbErr> {
    let mut failed = Sql::select();
    failed.column("update_id").from("rollout_devices");
    failed.and_where(Expr::col("rollout").eq(rollout));
    failed.and_where(Expr::col("state").is_in(["failed", "rolled_back", "timed_out"]));
    let of = super::update::Column::Id.in_subquery(failed);
    let newest = super::update::Entity::find().filter(of).order_by_desc(super::update::Column::FinishedAt);
    newest.limit(limit).all(query.connection()).await
}

/// A device that joins a rollout.
#[derive(Debug, Clone)]
pub(crate) struct Joins {
    pub(crate) device: DeviceId,
    pub(crate) step: usize,
}

impl Write {
    pub(crate) async fn insert_members(&self, rollout: i64, joins: &[Joins]) -> Result<(), DbErr> {
        self.note_moved();
        for joins in joins.chunks(ROWS_PER_STATEMENT) {
            let rows = joins.iter().map(|Joins { device, step }| ActiveModel {
                rollout: Set(rollout),
                device: Set(Text(device.clone())),
                step: Set(i64::try_from(*step).unwrap_or(i64::MAX)),
                state: Set(WAITING.to_owned()),
                update_id: Set(None),
                cause: Set(None),
            });
            Entity::insert_many(rows).exec_without_returning(self.connection()).await?;
        }
        Ok(())
    }

    /// One that waits is not offered it any more, or needs no offer: it has come to this state without an update.
    pub(crate) async fn conclude_member(
        &self,
        rollout: i64,
        device: &DeviceId,
        state: UpdateState,
        cause: &Cause,
    ) -> Result<(), DbErr> {
        self.note_moved();
        let sql = format!(
            "UPDATE rollout_devices SET state = $3, cause = $4 WHERE rollout = $1 AND device = $2 AND state = '{WAITING}'"
        );
        let values =
            vec![rollout.into(), device.as_str().into(), state.as_str().into(), Text(cause.clone()).into()];
        self.execute(&sql, values).await.map(|_| ())
    }

    /// All that wait are not offered it any more.
    pub(crate) async fn cancel_waiting(&self, rollout: i64, cause: &Cause) -> Result<(), DbErr> {
        self.note_moved();
        let sql = format!(
            "UPDATE rollout_devices SET state = 'cancelled', cause = $2 WHERE rollout = $1 AND state = '{WAITING}'"
        );
        self.execute(&sql, vec![rollout.into(), Text(cause.clone()).into()]).await.map(|_| ())
    }

    /// Devices of this rollout that still wait in one that is done are this one's now.
    pub(crate) async fn take_over(&self, rollout: i64, cause: &Cause) -> Result<(), DbErr> {
        self.note_moved();
        let sql = format!(
            "UPDATE rollout_devices SET state = 'cancelled', cause = $2 WHERE state = '{WAITING}' \
             AND rollout IN (SELECT id FROM rollouts WHERE state = 'done' AND id <> $1) \
             AND device IN (SELECT device FROM rollout_devices WHERE rollout = $1)"
        );
        self.execute(&sql, vec![rollout.into(), Text(cause.clone()).into()]).await.map(|_| ())
    }
}
