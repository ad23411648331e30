//! Devices whose newest update waits for its trigger to be sent. Two partial indexes have them alone, those who are online
//! together, so that however many others wait costs nothing.

use contract::DeviceId;
use sea_orm::entity::prelude::*;
use sea_orm::{ExprTrait, QueryOrder, QuerySelect};

use super::connection::{Query, ROWS_PER_STATEMENT};
use super::device::{Column, Entity};
use super::values::Text;

/// Who is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Waiting {
    /// Devices that are online in this epoch.
    Online(i64),
    /// Devices that are sent it despite silence.
    Forced,
}

/// Those above a device's id, with their updates. The conditions repeat those of the partial indexes letter by letter.
pub(super) fn above(which: Waiting, device: &str, limit: u64) -> Select<Entity> {
    let waiting = match which {
        Waiting::Online(epoch) => Expr::cust("waiting = 1").and(Column::OnlineEpoch.eq(epoch)),
        Waiting::Forced => Expr::cust("waiting = 2"),
    };
    let of = Entity::find().select_only().column(Column::Id).column(Column::UpdateId);
    of.filter(waiting.and(Column::Id.gt(device))).order_by_asc(Column::Id).limit(limit)
}

pub(crate) async fn page(
    query: &impl Query,
    which: Waiting,
    device: &str,
    limit: u64,
) -> Result<Vec<(Text<DeviceId>, Option<i64>)>, DbErr> {
    above(which, device, limit).into_tuple().all(query.connection()).await
}

/// The updates of those of these devices that wait.
pub(crate) async fn updates_of(query: &impl Query, devices: &[DeviceId]) -> Result<Vec<i64>, DbErr> {
    let mut updates = Vec::new();
    for devices in devices.chunks(ROWS_PER_STATEMENT) {
        let of = Column::Id.is_in(devices.iter().map(DeviceId::as_str)).and(Column::Waiting.gt(0));
        let ids =
            Entity::find().select_only().column(Column::UpdateId).filter(of).into_tuple::<Option<i64>>();
        updates.extend(ids.all(query.connection()).await?.into_iter().flatten());
    }
    Ok(updates)
}
