//! Devices listed, narrowed in the database.

use std::ops::RangeInclusive;

use contract::{DeviceId, ProductName};
use fleet::UpdateState;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Func, LikeExpr, Query as Sql};
use sea_orm::{Condition, ExprTrait, FromQueryResult, QueryOrder, QuerySelect};

use super::connection::Query;
use super::device::{Column, DeviceRow, Entity};
use super::image;
use super::tag;
use super::values::Text;

/// Ids that a list is looked for in first, at most: more is left to whatever way the database finds.
pub(super) const CANDIDATES_MAX: usize = 10_000;
/// How many of them at a time.
const CHUNK: usize = 1_000;
/// Up to so many builds an index has the devices of each in order; of more it has too few of each for that to matter.
const BUILDS_MAX: usize = 100;

/// What stands for every pin.
pub(crate) const PINNED: &str = "any";

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DeviceFilter<'a> {
    pub(crate) product: Option<&'a ProductName>,
    pub(crate) version: Option<&'a str>,
    pub(crate) tag: Option<&'a str>,
    pub(crate) contains: Option<&'a str>,
    pub(crate) after: Option<&'a str>,
    pub(crate) group: Option<&'a str>,
    /// Pinned to this, or at all: [`PINNED`].
    pub(crate) pin: Option<&'a str>,
    /// The newest update is in one of these; in any, if there are none.
    pub(crate) states: &'a [UpdateState],
    /// Online in this epoch.
    pub(crate) epoch: Option<i64>,
    /// In another epoch than this: offline.
    pub(crate) not_epoch: Option<i64>,
    pub(crate) builds: Builds<'a>,
}

/// Which builds ([`super::image::BUILD`]) devices are listed of.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Builds<'a> {
    #[default]
    Any,
    Among(&'a [String]),
    /// Of one, and of none of these.
    NoneOf(&'a [String]),
    /// Of none, or of one of these.
    NoneOr(&'a [String]),
}

impl Builds<'_> {
    fn condition(self) -> Option<Condition> {
        let build = || Expr::cust(image::BUILD);
        let among = |builds: &[String]| match builds {
            [only] => build().eq(only),
            several => build().is_in(several),
        };
        match self {
            Self::Any => None,
            Self::Among(builds) => Some(Condition::all().add(among(builds))),
            Self::NoneOf(builds) => {
                let any = Condition::all().add(build().is_not_null());
                Some(if builds.is_empty() { any } else { any.add(build().is_not_in(builds)) })
            }
            Self::NoneOr(builds) => Some(Condition::any().add(build().is_null()).add(among(builds))),
        }
    }
}

/// Devices in the order of their ids.
pub(crate) async fn page<'a>(
    query: &impl Query,
    filter: &DeviceFilter<'a>,
    limit: u64,
) -> Result<Vec<DeviceRow>, DbErr> {
    let candidates = Candidates::of(query, filter).await?;
    let mut filters = vec![*filter];
    if let Some(current) = filter.not_epoch {
        filters = others(query, filter, current).await?;
    }
    if filter.states.len() > 1 {
        let each = |filter: &DeviceFilter<'a>| {
            let filter = *filter;
            filter.states.chunks(1).map(move |states| DeviceFilter { states, ..filter })
        };
        filters = filters.iter().flat_map(each).collect();
    }
    if let Builds::Among(builds) = filter.builds
        && builds.len() <= BUILDS_MAX
    {
        let each = |filter: &DeviceFilter<'a>| {
            let filter = *filter;
            builds.chunks(1).map(move |one| DeviceFilter { builds: Builds::Among(one), ..filter })
        };
        filters = filters.iter().flat_map(each).collect();
    }
    let mut devices = Vec::new();
    for filter in &filters {
        devices.extend(candidates.page(query, filter, limit).await?);
    }
    devices.sort_unstable_by(|one, other| one.id.as_str().cmp(other.id.as_str()));
    devices.dedup_by(|one, other| one.id == other.id);
    devices.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(devices)
}

/// All other epochs: until they are swept, those of earlier starts, and 0. An index has each of them in order. Who is swept
/// meanwhile goes down, and is seen twice.
async fn others<'a>(
    query: &impl Query,
    filter: &DeviceFilter<'a>,
    current: i64,
) -> Result<Vec<DeviceFilter<'a>>, DbErr> {
    let (mut filters, mut below) = (Vec::new(), i64::MAX);
    while let Some(epoch) = epoch_below(query, below).await? {
        below = epoch;
        if epoch != current {
            filters.push(DeviceFilter { epoch: Some(epoch), ..*filter });
        }
    }
    Ok(filters)
}

async fn epoch_below(query: &impl Query, epoch: i64) -> Result<Option<i64>, DbErr> {
    let most = "SELECT MAX(online_epoch) AS epoch FROM devices WHERE online_epoch < $1";
    let row = query.row(most, vec![epoch.into()]).await?;
    Ok(row.map(|row| row.try_get("", "epoch")).transpose()?.flatten())
}

/// The first devices that a list can have, in order, where an index has them: those with the tag, or with the text in their id.
#[derive(Default)]
struct Candidates {
    ids: Vec<String>,
    /// There may be others, above them.
    and_others: bool,
}

impl Candidates {
    async fn of(query: &impl Query, filter: &DeviceFilter<'_>) -> Result<Self, DbErr> {
        let after = filter.after.unwrap_or_default();
        // Shorter texts have no index.
        if let Some(text) = filter.contains.filter(|text| text.chars().count() >= 3) {
            let phrase = || format!("\"{}\"", text.replace('"', "\"\""));
            let part = if query.is_sqlite() { phrase() } else { like(text) };
            let mut ids = ids(query, with_text(query.is_sqlite()), part, after).await?;
            // They come in no order: some of them are of no use.
            if ids.len() <= CANDIDATES_MAX {
                ids.sort_unstable();
                return Ok(Self { ids, and_others: false });
            }
        }
        let Some(tag) = filter.tag else { return Ok(Self { ids: Vec::new(), and_others: true }) };
        let sql =
            "SELECT device AS id FROM device_tags WHERE tag = $1 AND device > $2 ORDER BY device LIMIT $3";
        let ids = ids(query, sql, tag.to_owned(), after).await?;
        Ok(Self { and_others: ids.len() > CANDIDATES_MAX, ids })
    }

    async fn page(
        &self,
        query: &impl Query,
        filter: &DeviceFilter<'_>,
        limit: u64,
    ) -> Result<Vec<DeviceRow>, DbErr> {
        let mut devices = Vec::new();
        for some in self.ids.chunks(CHUNK) {
            let left = limit - devices.len() as u64;
            devices.extend(filtered(filter, Some(some), left).all(query.connection()).await?);
            if devices.len() as u64 == limit {
                return Ok(devices);
            }
        }
        if self.and_others {
            let after = self.ids.last().map(String::as_str).or(filter.after);
            let left = limit - devices.len() as u64;
            let others = filtered(&DeviceFilter { after, ..*filter }, None, left);
            devices.extend(others.all(query.connection()).await?);
        }
        Ok(devices)
    }
}

/// Ids with a part of theirs, by their trigrams.
pub(super) fn with_text(is_sqlite: bool) -> &'static str {
    if is_sqlite {
        "SELECT id FROM device_ids WHERE device_ids MATCH $1 AND id > $2 LIMIT $3"
    } else {
        "SELECT id FROM device_ids WHERE LOWER(id) LIKE $1 ESCAPE '\\' AND id > $2 LIMIT $3"
    }
}

/// One more than [`CANDIDATES_MAX`] if there are more.
async fn ids(query: &impl Query, sql: &str, what: String, after: &str) -> Result<Vec<String>, DbErr> {
    let most = i64::try_from(CANDIDATES_MAX + 1).unwrap_or(i64::MAX);
    let rows = query.rows(sql, vec![what.into(), after.into(), most.into()]).await?;
    rows.iter().map(|row| row.try_get("", "id")).collect()
}

/// Part of an id, whatever case its letters have.
fn like(text: &str) -> String {
    let text = text.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{text}%")
}

/// Among `some` ids no other index is of use, whatever the database thinks: then what else is asked for is an expression.
pub(super) fn filtered(filter: &DeviceFilter<'_>, some: Option<&[String]>, limit: u64) -> Select<Entity> {
    let of = |column: Column| match some {
        Some(_) => Expr::expr(Func::coalesce([column.into_expr(), column.into_expr()])),
        None => column.into_expr(),
    };
    let mut all = Condition::all();
    if let Some(some) = some {
        all = all.add(Column::Id.is_in(some));
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
    match filter.states {
        [] => {}
        [state] => all = all.add(of(Column::UpdateState).eq(Text(*state))),
        states => all = all.add(of(Column::UpdateState).is_in(states.iter().map(|state| state.as_str()))),
    }
    if let Some(group) = filter.group {
        all = all.add(of(Column::GroupName).eq(group));
    }
    match filter.pin {
        None => {}
        Some(PINNED) => all = all.add(Column::Pin.is_not_null()),
        Some(pin) => all = all.add(of(Column::Pin).eq(pin)),
    }
    if let Some(text) = filter.contains {
        let like = LikeExpr::new(like(text)).escape('\\');
        all = all.add(Expr::expr(Func::lower(Column::Id.into_expr())).like(like));
    }
    if let Some(builds) = filter.builds.condition() {
        all = all.add(builds);
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
