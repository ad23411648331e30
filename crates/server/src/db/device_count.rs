//! How many devices there are, and what is smallest among them.

use std::ops::RangeInclusive;

use contract::{DeviceId, ProductName};
use sea_orm::{DbErr, Value};

use super::column::{corrupt, parsed};
use super::connection::{Query, ROWS_PER_STATEMENT, tuples};
use super::device_list::{ABSENT, Heard, PRESENT};

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

/// How many of these devices belong to a product.
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

/// How many devices each product has.
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
