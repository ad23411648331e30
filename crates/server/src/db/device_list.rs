//! Lists of devices, narrowed in the database.

use contract::{DeviceId, ProductName};
use fleet::UpdateState;
use sea_orm::{DbErr, Value};

use super::connection::{Query, tuples};
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
