//! Updates that time alone moves: those in flight that are not heard of, and those whose devices asked to be left alone.

use contract::DeviceId;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::CaseStatement;
use sea_orm::{Condition, ExprTrait, QueryOrder, QuerySelect};

use super::connection::{Query, ROWS_PER_STATEMENT, Write};
use super::update::{Column, DEFERRED, Entity, IN_FLIGHT, UpdateRow};
use super::values::Text;

/// Those in flight with this time-out that were not heard of since, as many as asked.
pub(super) fn silent(timeout_s: i64, time: i64, limit: u64) -> Select<Entity> {
    let silent = Condition::all().add(Expr::cust(IN_FLIGHT)).add(Column::TimeoutS.eq(timeout_s));
    Entity::find().filter(silent.add(Column::HeardAt.lte(time))).order_by_asc(Column::HeardAt).limit(limit)
}

/// Devices that asked to be left alone until then, or earlier.
pub(super) fn deferred(until: i64, limit: u64) -> Select<Entity> {
    let due = Expr::cust(DEFERRED).and(Column::DeferredUntil.lte(until));
    Entity::find().filter(due).order_by_asc(Column::DeferredUntil).limit(limit)
}

pub(crate) async fn deferred_until(
    query: &impl Query,
    time: i64,
    limit: u64,
) -> Result<Vec<UpdateRow>, DbErr> {
    deferred(time, limit).all(query.connection()).await
}

pub(crate) async fn silent_since(
    query: &impl Query,
    timeout_s: i64,
    time: i64,
    limit: u64,
) -> Result<Vec<UpdateRow>, DbErr> {
    silent(timeout_s, time, limit).all(query.connection()).await
}

/// The time-outs that updates in flight have: a step in an index for each.
pub(crate) async fn timeouts(query: &impl Query) -> Result<Vec<i64>, DbErr> {
    let sql = format!("SELECT MIN(timeout_s) AS least FROM updates WHERE {IN_FLIGHT} AND timeout_s > $1");
    let mut timeouts = Vec::new();
    let mut above = -1_i64;
    while let Some(row) = query.row(&sql, vec![above.into()]).await?
        && let Some(least) = row.try_get::<Option<i64>>("", "least")?
    {
        timeouts.push(least);
        above = least;
    }
    Ok(timeouts)
}

impl Write {
    /// The clock stood still from `stopped_at` for so long: nobody is any later for it, neither who was last heard
    /// before nor who was heard, or offered something, while it stood.
    pub(crate) async fn shift_silence(&self, stopped_at: i64, by: i64) -> Result<u64, DbErr> {
        let now = stopped_at.saturating_add(by);
        let heard_at = CaseStatement::new()
            .case(Column::HeardAt.lte(stopped_at), Column::HeardAt.into_expr().add(by))
            .finally(now);
        self.move_heard(Column::HeardAt.lt(now), heard_at.into()).await
    }

    /// The clock was set back to `now`: nobody was heard later than that.
    pub(crate) async fn clamp_silence(&self, now: i64) -> Result<u64, DbErr> {
        // What is waited for longer is waited for until a time that comes.
        let which = Column::HeardAt.gt(now).and(Column::ExpiresAt.is_null());
        self.move_heard(which, Expr::value(now)).await
    }

    async fn move_heard(&self, which: Expr, heard_at: Expr) -> Result<u64, DbErr> {
        let waiting = || Expr::cust(IN_FLIGHT).and(which.clone());
        let of = Entity::find().select_only().column(Column::Device).filter(waiting());
        let devices: Vec<Text<DeviceId>> = of.into_tuple().all(self.connection()).await?;
        let devices: Vec<DeviceId> = devices.into_iter().map(|Text(id)| id).collect();
        let mut shifted = 0;
        for device in self.lock_devices(&devices).await?.chunks(ROWS_PER_STATEMENT) {
            let of = Column::Device.is_in(device.iter().map(|device| device.id.as_str()));
            let update = Entity::update_many().col_expr(Column::HeardAt, heard_at.clone());
            shifted += update.filter(waiting().and(of)).exec(self.connection()).await?.rows_affected;
        }
        Ok(shifted)
    }
}
