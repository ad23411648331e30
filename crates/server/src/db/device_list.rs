//! Devices listed and counted, narrowed in the database.

use std::ops::RangeInclusive;

use contract::{DeviceId, ProductName};
use fleet::UpdateState;
use sea_orm::{DbErr, Value};

use super::connection::{Query, ROWS_PER_STATEMENT, corrupt, parsed, tuples};
use super::device::{COLUMNS, DeviceRow, read};

#[derive(Debug, Default)]
pub(crate) struct DeviceFilter<'a> {
    pub(crate) product: Option<&'a ProductName>,
    pub(crate) tag: Option<&'a str>,
    pub(crate) contains: Option<&'a str>,
    pub(crate) after: Option<&'a str>,
    pub(crate) state: Option<UpdateState>,
    pub(crate) among: Option<&'a [DeviceId]>,
    /// On an external broker: those heard since then (and not gone), or the others.
    pub(crate) heard: Option<Heard>,
}

/// Who counts as online on an external broker.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Heard {
    Since(i64),
    NotSince(i64),
}

pub(super) const PRESENT: &str = "(d.presence = 'online' OR (d.presence IS NULL AND d.last_seen >= ?))";
pub(super) const ABSENT: &str =
    "(d.presence = 'offline' OR (d.presence IS NULL AND (d.last_seen IS NULL OR d.last_seen < ?)))";

/// Devices in the order of their ids.
pub(crate) async fn page(
    query: &impl Query,
    filter: &DeviceFilter<'_>,
    limit: usize,
) -> Result<Vec<DeviceRow>, DbErr> {
    let mut from = "devices d".to_owned();
    let mut conditions = vec!["1 = 1".to_owned()];
    let mut values: Vec<Value> = Vec::new();
    let mut add = |condition: &str, value: Value| {
        conditions.push(condition.to_owned());
        values.push(value);
    };
    if let Some(product) = filter.product {
        add("d.product = ?", product.as_str().into());
    }
    if let Some(tag) = filter.tag {
        from.push_str(" JOIN device_tags t ON t.device = d.id");
        add("t.tag = ?", tag.into());
    }
    if let Some(state) = filter.state {
        from.push_str(" JOIN updates u ON u.id = d.update_id");
        add("u.state = ?", state.as_str().into());
    }
    if let Some(text) = filter.contains {
        let text = text.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        add("LOWER(d.id) LIKE ? ESCAPE '\\'", format!("%{text}%").into());
    }
    if let Some(after) = filter.after {
        add("d.id > ?", after.into());
    }
    match filter.heard {
        Some(Heard::Since(time)) => add(PRESENT, time.into()),
        Some(Heard::NotSince(time)) => add(ABSENT, time.into()),
        None => {}
    }
    if let Some(ids) = filter.among {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        conditions.push(format!("d.id IN {}", tuples(1, ids.len())));
        values.extend(ids.iter().map(|id| Value::from(id.as_str())));
    }
    values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    let sql =
        format!("SELECT {COLUMNS} FROM {from} WHERE {} ORDER BY d.id LIMIT ?", conditions.join(" AND "));
    query.rows(&sql, values).await?.iter().map(read).collect()
}

/// How many devices there are, in all or of one product. Not counted again: the writes keep the number.
pub(crate) async fn count(query: &impl Query, product: Option<&ProductName>) -> Result<u64, DbErr> {
    let (condition, values) = of_product(product);
    number(
        query,
        &format!("SELECT CAST(COALESCE(SUM(devices), 0) AS BIGINT) FROM device_counts d WHERE {condition}"),
        values,
    )
    .await
}

pub(crate) async fn count_among(
    query: &impl Query,
    product: &ProductName,
    ids: &[DeviceId],
) -> Result<u64, DbErr> {
    let mut count = 0;
    for ids in ids.chunks(ROWS_PER_STATEMENT) {
        let sql =
            format!("SELECT COUNT(*) FROM devices WHERE product = ? AND id IN {}", tuples(1, ids.len()));
        let ids = ids.iter().map(|id| Value::from(id.as_str()));
        count += number(query, &sql, std::iter::once(product.as_str().into()).chain(ids).collect()).await?;
    }
    Ok(count)
}

/// How many of them were heard, or were not.
pub(crate) async fn count_heard(
    query: &impl Query,
    product: Option<&ProductName>,
    heard: Heard,
) -> Result<u64, DbErr> {
    let (condition, mut values) = of_product(product);
    let (presence, time) = match heard {
        Heard::Since(time) => (PRESENT, time),
        Heard::NotSince(time) => (ABSENT, time),
    };
    values.push(time.into());
    number(query, &format!("SELECT COUNT(*) FROM devices d WHERE {condition} AND {presence}"), values).await
}

/// A condition that narrows to a product, and its value.
pub(super) fn of_product(product: Option<&ProductName>) -> (&'static str, Vec<Value>) {
    match product {
        Some(product) => ("d.product = ?", vec![product.as_str().into()]),
        None => ("1 = 1", Vec::new()),
    }
}

async fn number(query: &impl Query, sql: &str, values: Vec<Value>) -> Result<u64, DbErr> {
    let row = query.row(sql, values).await?;
    let number: i64 = row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or(0);
    Ok(number.unsigned_abs())
}

pub(crate) async fn products(query: &impl Query) -> Result<Vec<(ProductName, u64)>, DbErr> {
    let sql = "SELECT product, CAST(SUM(devices) AS BIGINT) AS devices FROM device_counts WHERE product <> '' \
               GROUP BY product ORDER BY product";
    let rows = query.rows(sql, vec![]).await?;
    rows.iter()
        .map(|row| {
            let product = parsed(row, "product")?.ok_or_else(|| corrupt("product", "it is missing"))?;
            Ok((product, row.try_get::<i64>("", "devices")?.unsigned_abs()))
        })
        .collect()
}

pub(super) const SMALLEST_SLOT: &str = "SELECT id, slot_bytes FROM devices WHERE product = ? AND slot_bytes BETWEEN ? AND ? ORDER BY slot_bytes, id LIMIT 1";

/// The smallest slot of a product's devices within `sizes`, and whose it is. One step in an index, however many devices
/// there are.
pub(crate) async fn smallest_slot(
    query: &impl Query,
    product: &ProductName,
    sizes: &RangeInclusive<u32>,
) -> Result<Option<(DeviceId, u32)>, DbErr> {
    let values =
        vec![product.as_str().into(), i64::from(*sizes.start()).into(), i64::from(*sizes.end()).into()];
    let Some(row) = query.row(SMALLEST_SLOT, values).await? else {
        return Ok(None);
    };
    let device = parsed(&row, "id")?.ok_or_else(|| corrupt("id", "it is missing"))?;
    let bytes = u32::try_from(row.try_get::<i64>("", "slot_bytes")?);
    Ok(Some((device, bytes.map_err(|error| corrupt("slot_bytes", error))?)))
}
