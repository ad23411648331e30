//! Devices listed, narrowed in the database.

use std::ops::RangeInclusive;

use contract::{DeviceId, ProductName};
use fleet::UpdateState;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Func, LikeExpr, Query as Sql};
use sea_orm::{Condition, ExprTrait, FromQueryResult, QueryOrder, QuerySelect};

use super::connection::Query;
use super::device::{Column, DeviceRow, Entity};
use super::tag;
use super::values::Text;

/// Ids that a list begins with, at most: what has more is found soon anyway, in the order of the ids.
pub(super) const FEW: u64 = 1_000;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DeviceFilter<'a> {
    pub(crate) product: Option<&'a ProductName>,
    pub(crate) version: Option<&'a str>,
    pub(crate) tag: Option<&'a str>,
    pub(crate) contains: Option<&'a str>,
    pub(crate) after: Option<&'a str>,
    pub(crate) state: Option<UpdateState>,
    /// Online in this epoch.
    pub(crate) epoch: Option<i64>,
    /// In another epoch than this: offline.
    pub(crate) not_epoch: Option<i64>,
}

/// Devices in the order of their ids.
pub(crate) async fn page(
    query: &impl Query,
    filter: &DeviceFilter<'_>,
    limit: u64,
) -> Result<Vec<DeviceRow>, DbErr> {
    let few = few(query, filter).await?;
    let page = async |filter: &DeviceFilter<'_>| {
        filtered(filter, few.as_deref(), limit).all(query.connection()).await
    };
    let Some(current) = filter.not_epoch else { return page(filter).await };
    // All other epochs: 0, and until they are swept, those of earlier starts. An index has each of them in order.
    let (mut devices, mut above) = (Vec::new(), -1);
    while let Some(other) = epoch_above(query, above).await? {
        above = other;
        if other != current {
            devices.extend(page(&DeviceFilter { epoch: Some(other), ..*filter }).await?);
        }
    }
    devices.sort_unstable_by(|one, other| one.id.as_str().cmp(other.id.as_str()));
    devices.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(devices)
}

async fn epoch_above(query: &impl Query, epoch: i64) -> Result<Option<i64>, DbErr> {
    let least = "SELECT MIN(online_epoch) AS epoch FROM devices WHERE online_epoch > $1";
    let row = query.row(least, vec![epoch.into()]).await?;
    Ok(row.map(|row| row.try_get("", "epoch")).transpose()?.flatten())
}

/// The devices with the tag, or with the text in their id, if they are at most [`FEW`].
async fn few(query: &impl Query, filter: &DeviceFilter<'_>) -> Result<Option<Vec<String>>, DbErr> {
    if let Some(tag) = filter.tag {
        let sql = "SELECT device AS id FROM device_tags WHERE tag = $1 LIMIT $2";
        if let Some(few) = at_most_few(query, sql, tag.to_owned()).await? {
            return Ok(Some(few));
        }
    }
    // Shorter texts have no index.
    let Some(text) = filter.contains.filter(|text| text.chars().count() >= 3) else { return Ok(None) };
    if query.is_sqlite() {
        let phrase = format!("\"{}\"", text.replace('"', "\"\""));
        at_most_few(query, "SELECT id FROM device_ids WHERE device_ids MATCH $1 LIMIT $2", phrase).await
    } else {
        let sql = "SELECT id FROM devices WHERE LOWER(id) LIKE $1 ESCAPE '\\' LIMIT $2";
        at_most_few(query, sql, like(text)).await
    }
}

async fn at_most_few(query: &impl Query, sql: &str, text: String) -> Result<Option<Vec<String>>, DbErr> {
    let rows = query.rows(sql, vec![text.into(), (FEW + 1).into()]).await?;
    let ids = rows.iter().map(|row| row.try_get("", "id"));
    if rows.len() as u64 > FEW { Ok(None) } else { ids.collect::<Result<_, _>>().map(Some) }
}

/// Part of an id, whatever case its letters have.
fn like(text: &str) -> String {
    let text = text.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{text}%")
}

/// With a few ids no other index is of use, whatever the database thinks: then what else is asked for is an expression.
pub(super) fn filtered(filter: &DeviceFilter<'_>, few: Option<&[String]>, limit: u64) -> Select<Entity> {
    let of = |column: Column| match few {
        Some(_) => Expr::expr(Func::coalesce([column.into_expr(), column.into_expr()])),
        None => column.into_expr(),
    };
    let mut all = Condition::all();
    if let Some(few) = few {
        all = all.add(Column::Id.is_in(few));
    }
    if let Some(product) = filter.product {
        all = all.add(of(Column::Product).eq(product.as_str()));
    }
    if let Some(version) = filter.version {
        all = all.add(of(Column::Version).eq(version));
    }
    if let Some(wanted) = filter.tag {
        let is_its = tag::Column::Device.into_expr().eq(Column::Id.into_expr());
        let mut tagged = Sql::select();
        tagged
            .expr(Expr::value(1))
            .from(tag::Entity)
            .and_where(is_its)
            .and_where(tag::Column::Tag.eq(wanted));
        all = all.add(Expr::exists(tagged));
    }
    if let Some(state) = filter.state {
        all = all.add(of(Column::UpdateState).eq(Text(state)));
    }
    if let Some(text) = filter.contains {
        let like = LikeExpr::new(like(text)).escape('\\');
        all = all.add(Expr::expr(Func::lower(Column::Id.into_expr())).like(like));
    }
    if let Some(after) = filter.after {
        all = all.add(Column::Id.gt(after));
    }
    if let Some(epoch) = filter.epoch {
        all = all.add(of(Column::OnlineEpoch).eq(epoch));
    }
    Entity::find().filter(all).order_by_asc(Column::Id).limit(limit)
}

/// Whether any device is of this product.
pub(crate) async fn is_of_any(query: &impl Query, product: &ProductName) -> Result<bool, DbErr> {
    let any = query.row("SELECT 1 FROM devices WHERE product = $1 LIMIT 1", vec![product.as_str().into()]);
    Ok(any.await?.is_some())
}

/// How many devices there are: for who may add some more. [`super::count`] is for those who look.
pub(crate) async fn count(query: &impl Query) -> Result<u64, DbErr> {
    Entity::find().count(query.connection()).await
}

#[derive(FromQueryResult)]
struct SmallestSlot {
    id: Text<DeviceId>,
    slot_bytes: i64,
}

pub(super) fn by_slot(product: &ProductName, sizes: &RangeInclusive<u32>) -> Select<Entity> {
    let sizes = Column::SlotBytes.between(i64::from(*sizes.start()), i64::from(*sizes.end()));
    Entity::find()
        .filter(Column::Product.eq(product.as_str()).and(sizes))
        .order_by_asc(Column::SlotBytes)
        .order_by_asc(Column::Id)
        .limit(1)
}

/// The smallest slot of a product's devices within `sizes`, and whose it is. One step in an index, however many devices
/// there are.
pub(crate) async fn smallest_slot(
    query: &impl Query,
    product: &ProductName,
    sizes: &RangeInclusive<u32>,
) -> Result<Option<(DeviceId, u32)>, DbErr> {
    let smallest = by_slot(product, sizes).into_model::<SmallestSlot>().one(query.connection()).await?;
    let bytes = |bytes: i64| u32::try_from(bytes).map_err(|why| DbErr::Type(format!("a slot's size: {why}")));
    smallest.map(|smallest| Ok((smallest.id.0, bytes(smallest.slot_bytes)?))).transpose()
}
