//! Devices and their tags.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use contract::{DeviceId, LastOutcome, Presence, ProductName, Sha256, Version};
use fleet::UpdateState;
use sea_orm::{DbErr, QueryResult, Value};
use serde::de::DeserializeOwned;

use super::{Db, Query, ROWS_PER_STATEMENT, Write, tuples};
use crate::model::DeviceReport;

/// A device as the table has it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DeviceRow {
    pub(crate) id: DeviceId,
    pub(crate) product: Option<ProductName>,
    /// A person chose the product: what the device reports does not change it.
    pub(crate) product_is_set: bool,
    pub(crate) registered: bool,
    pub(crate) version: Option<Version>,
    pub(crate) sha256: Option<Sha256>,
    /// `None` where it reports bare versions.
    pub(crate) report: Option<DeviceReport>,
    /// Of the last report's payload: a retained one that is the same says nothing new.
    pub(crate) report_digest: Option<String>,
    pub(crate) last_outcome: Option<LastOutcome>,
    pub(crate) presence: Option<Presence>,
    pub(crate) last_seen: Option<i64>,
    pub(crate) unreadable_count: i64,
    pub(crate) unreadable_last: Option<String>,
    pub(crate) unreadable_at: Option<i64>,
    /// Its newest update.
    pub(crate) update_id: Option<i64>,
    pub(crate) created_at: i64,
}

impl DeviceRow {
    /// One of which nothing is known yet.
    pub(crate) fn new(id: DeviceId, created_at: i64) -> Self {
        Self {
            id,
            product: None,
            product_is_set: false,
            registered: false,
            version: None,
            sha256: None,
            report: None,
            report_digest: None,
            last_outcome: None,
            presence: None,
            last_seen: None,
            unreadable_count: 0,
            unreadable_last: None,
            unreadable_at: None,
            update_id: None,
            created_at,
        }
    }
}

/// What a list of devices is narrowed to in the database.
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

const COLUMNS: &str = "d.id, d.product, d.product_is_set, d.password_sha256, d.version, d.sha256, d.report, \
    d.report_digest, d.last_outcome, d.presence, d.last_seen, d.unreadable_count, d.unreadable_last, \
    d.unreadable_at, d.update_id, d.created_at";

const PRESENT: &str = "(d.presence = 'online' OR (d.presence IS NULL AND d.last_seen >= ?))";
const ABSENT: &str =
    "(d.presence = 'offline' OR (d.presence IS NULL AND (d.last_seen IS NULL OR d.last_seen < ?)))";

/// The devices of that many ids that there are.
pub(crate) async fn by_ids(query: &impl Query, ids: &[DeviceId]) -> Result<Vec<DeviceRow>, DbErr> {
    let mut devices = Vec::with_capacity(ids.len());
    for ids in ids.chunks(ROWS_PER_STATEMENT) {
        let sql = format!("SELECT {COLUMNS} FROM devices d WHERE d.id IN {}", tuples(1, ids.len()));
        let values = ids.iter().map(|id| id.as_str().into()).collect();
        for row in query.rows(&sql, values).await? {
            devices.push(read(&row)?);
        }
    }
    Ok(devices)
}

/// One device.
pub(crate) async fn by_id(query: &impl Query, id: &DeviceId) -> Result<Option<DeviceRow>, DbErr> {
    Ok(by_ids(query, std::slice::from_ref(id)).await?.pop())
}

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

/// How many devices there are, in all or of one product. Not counted anew: the writes keep the number.
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

/// The tags of these devices, as pairs.
pub(crate) async fn tags(query: &impl Query, ids: &[DeviceId]) -> Result<Vec<(DeviceId, String)>, DbErr> {
    let mut tags = Vec::new();
    for ids in ids.chunks(ROWS_PER_STATEMENT) {
        let sql = format!(
            "SELECT device, tag FROM device_tags WHERE device IN {} ORDER BY device, tag",
            tuples(1, ids.len())
        );
        let values = ids.iter().map(|id| id.as_str().into()).collect();
        for row in query.rows(&sql, values).await? {
            let device = parsed(&row, "device")?.ok_or_else(|| corrupt("device", "it is missing"))?;
            tags.push((device, row.try_get("", "tag")?));
        }
    }
    Ok(tags)
}

impl Db {
    /// The digest of a device's MQTT password, if it is registered.
    pub(crate) async fn device_password(&self, id: &DeviceId) -> Result<Option<String>, DbErr> {
        let row =
            self.row("SELECT password_sha256 FROM devices WHERE id = ?", vec![id.as_str().into()]).await?;
        Ok(row.map(|row| row.try_get_by_index::<Option<String>>(0)).transpose()?.flatten())
    }
}

impl Write {
    /// Writes what messages say of devices; those that are new become known.
    pub(crate) async fn save_devices(&self, devices: &[&DeviceRow]) -> Result<(), DbErr> {
        const COLUMNS: [&str; 15] = [
            "id",
            "created_at",
            "product",
            "version",
            "sha256",
            "report",
            "report_digest",
            "last_outcome",
            "presence",
            "last_seen",
            "unreadable_count",
            "unreadable_last",
            "unreadable_at",
            "product_is_set",
            "slot_bytes",
        ];
        let assignments: Vec<String> =
            COLUMNS[2..].iter().map(|column| format!("{column} = excluded.{column}")).collect();
        for devices in devices.chunks(ROWS_PER_STATEMENT) {
            let sql = format!(
                "INSERT INTO devices ({}) VALUES {} ON CONFLICT (id) DO UPDATE SET {}",
                COLUMNS.join(", "),
                tuples(devices.len(), COLUMNS.len()),
                assignments.join(", ")
            );
            let mut values: Vec<Value> = Vec::with_capacity(devices.len() * COLUMNS.len());
            for device in devices {
                values.extend::<[Value; 15]>([
                    device.id.as_str().into(),
                    device.created_at.into(),
                    device.product.as_ref().map(ProductName::as_str).into(),
                    device.version.as_ref().map(Version::as_str).into(),
                    device.sha256.map(|sha256| sha256.to_hex().to_string()).into(),
                    json(device.report.as_ref())?.into(),
                    device.report_digest.as_deref().into(),
                    json(device.last_outcome.as_ref())?.into(),
                    device.presence.map(Presence::as_str).into(),
                    device.last_seen.into(),
                    device.unreadable_count.into(),
                    device.unreadable_last.as_deref().into(),
                    device.unreadable_at.into(),
                    i64::from(device.product_is_set).into(),
                    device.report.as_ref().and_then(|report| report.slot_bytes).map(i64::from).into(),
                ]);
            }
            self.execute(&sql, values).await?;
        }
        Ok(())
    }

    /// Registers a device, which may be known by its reports already. Answers false if it is registered.
    pub(crate) async fn register_device(
        &self,
        id: &DeviceId,
        product: &ProductName,
        password_sha256: &str,
        now: i64,
    ) -> Result<bool, DbErr> {
        let sql = "INSERT INTO devices (id, product, product_is_set, password_sha256, created_at) VALUES (?, ?, 1, ?, ?) \
                   ON CONFLICT (id) DO UPDATE SET product = excluded.product, product_is_set = 1, \
                   password_sha256 = excluded.password_sha256 WHERE devices.password_sha256 IS NULL";
        let values = vec![id.as_str().into(), product.as_str().into(), password_sha256.into(), now.into()];
        Ok(self.execute(sql, values).await? == 1)
    }

    /// Chooses a device's product.
    pub(crate) async fn set_product(&self, id: &DeviceId, product: &ProductName) -> Result<(), DbErr> {
        let sql = "UPDATE devices SET product = ?, product_is_set = 1 WHERE id = ?";
        self.execute(sql, vec![product.as_str().into(), id.as_str().into()]).await.map(|_| ())
    }

    /// Replaces a device's tags.
    pub(crate) async fn set_tags(&self, id: &DeviceId, tags: &[String]) -> Result<(), DbErr> {
        self.execute("DELETE FROM device_tags WHERE device = ?", vec![id.as_str().into()]).await?;
        for tag in tags {
            let sql =
                "INSERT INTO device_tags (device, tag) VALUES (?, ?) ON CONFLICT (device, tag) DO NOTHING";
            self.execute(sql, vec![id.as_str().into(), tag.as_str().into()]).await?;
        }
        Ok(())
    }

    /// Forgets a device and its history. Answers whether it was there.
    pub(crate) async fn remove_device(&self, id: &DeviceId) -> Result<bool, DbErr> {
        Ok(self.execute("DELETE FROM devices WHERE id = ?", vec![id.as_str().into()]).await? == 1)
    }

    /// Notes that these devices were there at these times.
    pub(crate) async fn set_last_seen(&self, seen: &[(DeviceId, i64)]) -> Result<(), DbErr> {
        for (id, at) in seen {
            let sql =
                "UPDATE devices SET last_seen = ? WHERE id = ? AND (last_seen IS NULL OR last_seen < ?)";
            self.execute(sql, vec![(*at).into(), id.as_str().into(), (*at).into()]).await?;
        }
        Ok(())
    }
}

fn read(row: &QueryResult) -> Result<DeviceRow, DbErr> {
    let presence: Option<String> = row.try_get("", "presence")?;
    Ok(DeviceRow {
        id: parsed(row, "id")?.ok_or_else(|| corrupt("id", "it is missing"))?,
        product: parsed(row, "product")?,
        product_is_set: row.try_get::<i64>("", "product_is_set")? != 0,
        registered: row.try_get::<Option<String>>("", "password_sha256")?.is_some(),
        version: parsed(row, "version")?,
        sha256: digest(row)?,
        report: from_json(row, "report")?,
        report_digest: row.try_get("", "report_digest")?,
        last_outcome: from_json(row, "last_outcome")?,
        presence: presence
            .map(|word| Presence::parse(word.as_bytes()).map_err(|error| corrupt("presence", error)))
            .transpose()?,
        last_seen: row.try_get("", "last_seen")?,
        unreadable_count: row.try_get("", "unreadable_count")?,
        unreadable_last: row.try_get("", "unreadable_last")?,
        unreadable_at: row.try_get("", "unreadable_at")?,
        update_id: row.try_get("", "update_id")?,
        created_at: row.try_get("", "created_at")?,
    })
}

pub(super) fn corrupt(column: &str, why: impl Display) -> DbErr {
    DbErr::Type(format!("the database holds a {column} that cannot be read: {why}"))
}

/// A text column, read into its type.
pub(super) fn parsed<T: FromStr<Err: Display>>(row: &QueryResult, column: &str) -> Result<Option<T>, DbErr> {
    let text: Option<String> = row.try_get("", column)?;
    text.map(|text| text.parse().map_err(|error| corrupt(column, error))).transpose()
}

/// The column `sha256`.
pub(super) fn digest(row: &QueryResult) -> Result<Option<Sha256>, DbErr> {
    let hex: Option<String> = row.try_get("", "sha256")?;
    hex.map(|hex| Sha256::from_hex(&hex).ok_or_else(|| corrupt("sha256", "not 64 digits"))).transpose()
}

/// A column of JSON.
pub(super) fn from_json<T: DeserializeOwned>(row: &QueryResult, column: &str) -> Result<Option<T>, DbErr> {
    let text: Option<String> = row.try_get("", column)?;
    text.map(|text| serde_json::from_str(&text).map_err(|error| corrupt(column, error))).transpose()
}

/// JSON for a column.
pub(super) fn json<T: serde::Serialize>(value: Option<&T>) -> Result<Option<String>, DbErr> {
    value
        .map(|value| serde_json::to_string(value).map_err(|error| DbErr::Json(error.to_string())))
        .transpose()
}
