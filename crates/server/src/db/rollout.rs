//! Rollouts: a row each. Who writes one locks its row; who locks devices too locks them first.

use api::{LeftOut, NewRollout};
use cause::Cause;
use contract::{ProductName, Version};
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue, ExprTrait, QueryOrder, QuerySelect};

use super::connection::{Query, Write};
use super::locked::{Locked, compared};
use super::values::Text;

pub(crate) type RolloutRow = Model;

/// Of one whose devices are being written: it is shown to nobody, and forgotten by the next start of the server.
pub(crate) const PREPARING: &str = "preparing";

/// A rollout; with each of its columns.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "rollouts")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) id: i64,
    pub(crate) product: Text<ProductName>,
    pub(crate) version: Text<Version>,
    /// The image that is rolled out: under which key it is blocked, if it is.
    pub(crate) object_key: String,
    /// What was asked for.
    pub(crate) request: Text<NewRollout>,
    pub(crate) state: String,
    /// There is something to do for it.
    pub(crate) is_open: bool,
    /// Counted from 0.
    pub(crate) step: i64,
    /// How many steps' devices are looked for.
    pub(crate) opened: i64,
    pub(crate) soak_until: Option<i64>,
    /// Why it ended, or was not promoted.
    pub(crate) cause: Option<Text<Cause>>,
    /// Its version was blocked because it was halted.
    pub(crate) is_blocked: bool,
    /// How many were selected and are left out, by why.
    pub(crate) left_out: Text<Vec<LeftOut>>,
    pub(crate) created_by: String,
    pub(crate) created_at: i64,
    pub(crate) finished_at: Option<i64>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

compared! {
    Id: id,
    Product: product,
    Version: version,
    ObjectKey: object_key,
    Request: request,
    State: state,
    IsOpen: is_open,
    Step: step,
    Opened: opened,
    SoakUntil: soak_until,
    Cause: cause,
    IsBlocked: is_blocked,
    LeftOut: left_out,
    CreatedBy: created_by,
    CreatedAt: created_at,
    FinishedAt: finished_at,
}

impl Model {
    /// Whether its devices may be offered its version.
    pub(crate) fn may_offer(&self) -> bool {
        matches!(self.state.as_str(), "running" | "done")
    }
}

pub(crate) async fn by_id(query: &impl Query, id: i64) -> Result<Option<RolloutRow>, DbErr> {
    let rollout = Entity::find_by_id(id).filter(Column::State.ne(PREPARING));
    rollout.one(query.connection()).await
}

/// A product's, or all, the newest first, below an id.
pub(crate) async fn page(
    query: &impl Query,
    product: Option<&ProductName>,
    below: i64,
    limit: u64,
) -> Result<Vec<RolloutRow>, DbErr> {
    let mut rollouts = Entity::find().filter(Column::Id.lt(below).and(Column::State.ne(PREPARING)));
    if let Some(product) = product {
        rollouts = rollouts.filter(Column::Product.eq(product.as_str()));
    }
    rollouts.order_by_desc(Column::Id).limit(limit).all(query.connection()).await
}

/// Those for which there is something to do, in order.
pub(crate) async fn open(query: &impl Query) -> Result<Vec<RolloutRow>, DbErr> {
    let is_open = Expr::cust(if query.is_sqlite() { "is_open = 1" } else { "is_open" });
    Entity::find().filter(is_open).order_by_asc(Column::Id).all(query.connection()).await
}

impl Write {
    pub(crate) async fn insert_rollout(&self, row: &RolloutRow) -> Result<i64, DbErr> {
        let row = ActiveModel { id: ActiveValue::NotSet, ..row.clone().into() };
        Ok(Entity::insert(row).exec_with_returning(self.connection()).await?.id)
    }

    /// Devices that are written with it are locked before.
    pub(crate) async fn lock_rollout(&self, id: i64) -> Result<Option<Locked<RolloutRow>>, DbErr> {
        let row = Entity::find_by_id(id).lock_exclusive().one(self.connection()).await?;
        Ok(row.map(Locked::new))
    }

    pub(crate) async fn save_rollout(&self, rollout: &Locked<RolloutRow>) -> Result<(), DbErr> {
        self.save_changes(Column::Id, std::iter::once(rollout)).await
    }

    pub(crate) async fn remove_rollout(&self, id: i64) -> Result<(), DbErr> {
        Entity::delete_by_id(id).exec(self.connection()).await.map(|_| ())
    }

    /// What a server that was killed was preparing.
    pub(crate) async fn remove_prepared(&self) -> Result<(), DbErr> {
        let prepared = Entity::delete_many().filter(Column::State.eq(PREPARING));
        prepared.exec(self.connection()).await.map(|_| ())
    }

    /// The server's clock stood still since `stopped_at`, and so does that of each soak.
    pub(crate) async fn shift_soaks(&self, stopped_at: i64, by: i64) -> Result<(), DbErr> {
        let sql =
            "UPDATE rollouts SET soak_until = soak_until + $2 WHERE soak_until > $1 AND finished_at IS NULL";
        self.execute(sql, vec![stopped_at.into(), by.into()]).await.map(|_| ())
    }
}
