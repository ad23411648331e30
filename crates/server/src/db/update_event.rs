//! What happened to updates: each message and act that changed one. Written with the update, and only ever added to; those of
//! updates that ended long ago are forgotten.

use cause::Cause;
use contract::Phase;
use fleet::UpdateState;
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue, ExprTrait, QueryOrder, QuerySelect, Set};

use super::connection::{Query, ROWS_PER_STATEMENT, Write};
use super::values::Text;

/// Events of updates that ended long ago that are forgotten in one transaction, at most.
pub(crate) const FORGOTTEN_MAX: u64 = 5000;

pub(crate) type UpdateEventRow = Model;

#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "update_events")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) id: i64,
    pub(crate) update_id: i64,
    pub(crate) at: i64,
    pub(crate) kind: String,
    /// By whom it was written.
    pub(crate) actor_kind: String,
    pub(crate) actor: String,
    /// `None` where it began.
    pub(crate) from_state: Option<Text<UpdateState>>,
    pub(crate) to_state: Text<UpdateState>,
    /// As in the update.
    pub(crate) reason: String,
    pub(crate) cause: Option<Text<Cause>>,
    pub(crate) phase: Option<Text<Phase>>,
    pub(crate) done: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// An update's, in order, above an id.
pub(crate) async fn of_update(
    query: &impl Query,
    update: i64,
    above: i64,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    let of = Column::UpdateId.eq(update).and(Column::Id.gt(above));
    Entity::find().filter(of).order_by_asc(Column::Id).limit(limit).all(query.connection()).await
}

pub(super) fn forget(is_sqlite: bool) -> String {
    let lock = if is_sqlite { "" } else { " FOR UPDATE OF e SKIP LOCKED" };
    format!(
        "DELETE FROM update_events WHERE id IN (SELECT e.id FROM update_events e JOIN updates u ON u.id = e.update_id \
         WHERE e.at < $1 AND u.finished_at < $1 ORDER BY e.at LIMIT $2{lock})"
    )
}

impl Write {
    /// Writes events as this transaction's actor.
    pub(super) async fn insert_events(&self, events: &[Model]) -> Result<(), DbErr> {
        for events in events.chunks(ROWS_PER_STATEMENT) {
            let new = events.iter().map(|event| ActiveModel {
                id: ActiveValue::NotSet,
                actor_kind: Set(self.by.kind.as_str().to_owned()),
                actor: Set(self.by.name.clone().into_owned()),
                ..event.clone().into()
            });
            Entity::insert_many(new).exec_without_returning(self.connection()).await?;
        }
        Ok(())
    }

    /// Forgets up to [`FORGOTTEN_MAX`] events of updates that ended before a time, and answers how many. It locks no device, and
    /// waits for nobody: events that go with their device are left to who removes it.
    pub(crate) async fn forget_events(&self, before: i64) -> Result<u64, DbErr> {
        let sql = forget(self.is_sqlite());
        self.execute(&sql, vec![before.into(), FORGOTTEN_MAX.into()]).await
    }
}
