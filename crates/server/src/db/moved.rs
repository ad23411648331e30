//! Where a device is in a rollout changes with the update that the rollout made for it: written together.

use std::sync::atomic::Ordering;

use contract::DeviceId;
use fleet::UpdateState;
use sea_orm::sea_query::{Alias, Expr, IntoIden, IntoValueTuple, Query as Sql, TableRef, ValueTuple};
use sea_orm::{ConnectionTrait, DbErr, ExprTrait};
use tokio::sync::watch;

use super::connection::{Db, Query, ROWS_PER_STATEMENT, Write};
use super::device::DeviceRow;
use super::locked::Locked;

/// It was not offered the version yet.
pub(crate) const WAITING: &str = "waiting";

/// What is to be written of a device's place in a rollout.
pub(super) struct Moved {
    rollout: i64,
    device: DeviceId,
    state: &'static str,
    update: i64,
}

impl Moved {
    /// `None`: it waits again, and is looked for again.
    pub(super) fn to(
        device: &mut Locked<DeviceRow>,
        rollout: i64,
        update: i64,
        state: Option<UpdateState>,
    ) -> Self {
        device.rollout = match state {
            // A later one may look for it by now.
            None => device.rollout.or(Some(rollout)),
            Some(_) => device.rollout.filter(|other| *other != rollout),
        };
        let state = state.map_or(WAITING, UpdateState::as_str);
        Self { rollout, device: device.id.0.clone(), state, update }
    }
}

impl Db {
    /// Told after each commit that moved devices of rollouts.
    pub(crate) fn moved(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }
}

impl Write {
    /// Those who watch rollouts are told once this is committed.
    pub(super) fn note_moved(&self) {
        self.moves_members.store(true, Ordering::Relaxed);
    }

    /// Writes where devices are. Those whose update is not the last one that the rollout made for them stay as they are, unless
    /// the updates are new.
    pub(super) async fn move_members(&self, moved: &[Moved], is_new: bool) -> Result<(), DbErr> {
        if !moved.is_empty() {
            self.note_moved();
        }
        let value = |number: usize| Expr::col((Alias::new("new"), Alias::new(format!("column{number}"))));
        let its = |name: &'static str| Expr::col(("rollout_devices", name));
        for moved in moved.chunks(ROWS_PER_STATEMENT) {
            let row = |moved: &Moved| -> ValueTuple {
                (moved.rollout, moved.device.as_str(), moved.state, moved.update).into_value_tuple()
            };
            let new = moved.iter().map(row).collect();
            let mut update = Sql::update();
            update.table("rollout_devices").value("state", value(3));
            if is_new {
                update.value("update_id", value(4));
            } else {
                update.and_where(its("update_id").eq(value(4)));
            }
            update.from(TableRef::ValuesList(new, Alias::new("new").into_iden()));
            update.and_where(its("rollout").eq(value(1))).and_where(its("device").eq(value(2)));
            self.connection().execute(&update).await?;
        }
        Ok(())
    }
}
