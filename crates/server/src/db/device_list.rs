//! Devices listed, narrowed in the database.

use std::ops::RangeInclusive;

use contract::{DeviceId, ProductName};
use fleet::UpdateState;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Func, LikeExpr, Query as Sql};
use sea_orm::{ExprTrait, FromQueryResult, QueryOrder, QuerySelect};

use super::connection::Query;
use super::device::{Column, DeviceRow, Entity};
use super::tag;
use super::values::Text;

#[derive(Debug, Default)]
pub(crate) struct DeviceFilter<'a> {
    pub(crate) product: Option<&'a ProductName>,
    pub(crate) tag: Option<&'a str>,
    pub(crate) contains: Option<&'a str>,
    pub(crate) after: Option<&'a str>,
    pub(crate) state: Option<UpdateState>,
    /// Online in this epoch, or not.
    pub(crate) online: Option<(bool, i64)>,
}

/// Devices in the order of their ids.
pub(crate) async fn page(
    query: &impl Query,
    filter: &DeviceFilter<'_>,
    limit: u64,
) -> Result<Vec<DeviceRow>, DbErr> {
    filtered(filter, limit).all(query.connection()).await
}

pub(super) fn filtered(filter: &DeviceFilter<'_>, limit: u64) -> Select<Entity> {
    let mut page = Entity::find().order_by_asc(Column::Id).limit(limit);
    if let Some(product) = filter.product {
        page = page.filter(Column::Product.eq(product.as_str()));
    }
    if let Some(wanted) = filter.tag {
        let mut tagged = Sql::select();
        tagged.column(tag::Column::Device).from(tag::Entity).and_where(tag::Column::Tag.eq(wanted));
        page = page.filter(Column::Id.in_subquery(tagged));
    }
    if let Some(state) = filter.state {
        page = page.filter(Column::UpdateState.eq(Text(state)));
    }
    if let Some(text) = filter.contains {
        let text = text.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        let like = LikeExpr::new(format!("%{text}%")).escape('\\');
        page = page.filter(Expr::expr(Func::lower(Column::Id.into_expr())).like(like));
    }
    if let Some(after) = filter.after {
        page = page.filter(Column::Id.gt(after));
    }
    match filter.online {
        Some((true, epoch)) => page.filter(Column::OnlineEpoch.eq(epoch)),
        Some((false, epoch)) => page.filter(Column::OnlineEpoch.ne(epoch)),
        None => page,
    }
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
