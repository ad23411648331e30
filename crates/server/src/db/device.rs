//! Devices and their tags, read and written.

use api::DeviceReport;
use contract::{DeviceId, LastOutcome, Presence, ProductName, Sha256, Version};
use sea_orm::{DbErr, QueryResult, Value};

use super::connection::{
    Db, Query, ROWS_PER_STATEMENT, Write, corrupt, digest, from_json, json, parsed, tuples,
};

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
    pub(crate) update_id: Option<i64>,
    pub(crate) created_at: i64,
}

impl DeviceRow {
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

pub(super) const COLUMNS: &str = "d.id, d.product, d.product_is_set, d.password_sha256, d.version, d.sha256, d.report, \
    d.report_digest, d.last_outcome, d.presence, d.last_seen, d.unreadable_count, d.unreadable_last, \
    d.unreadable_at, d.update_id, d.created_at";

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

pub(crate) async fn by_id(query: &impl Query, id: &DeviceId) -> Result<Option<DeviceRow>, DbErr> {
    Ok(by_ids(query, std::slice::from_ref(id)).await?.pop())
}

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

pub(super) fn read(row: &QueryResult) -> Result<DeviceRow, DbErr> {
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

impl Write {
    /// Writes what messages say of devices; those that are new become known.
    pub(crate) async fn save_devices(&self, devices: &[&DeviceRow]) -> Result<(), DbErr> {
        const WRITTEN: &str = "id, created_at, product, version, sha256, report, report_digest, last_outcome, presence, \
            last_seen, unreadable_count, unreadable_last, unreadable_at, product_is_set, slot_bytes";
        let columns: Vec<&str> = WRITTEN.split(", ").collect();
        let assignments: Vec<String> =
            columns[2..].iter().map(|column| format!("{column} = excluded.{column}")).collect();
        for devices in devices.chunks(ROWS_PER_STATEMENT) {
            let sql = format!(
                "INSERT INTO devices ({WRITTEN}) VALUES {} ON CONFLICT (id) DO UPDATE SET {}",
                tuples(devices.len(), columns.len()),
                assignments.join(", ")
            );
            let mut values: Vec<Value> = Vec::with_capacity(devices.len() * columns.len());
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

    pub(crate) async fn set_product(&self, id: &DeviceId, product: &ProductName) -> Result<(), DbErr> {
        let sql = "UPDATE devices SET product = ?, product_is_set = 1 WHERE id = ?";
        self.execute(sql, vec![product.as_str().into(), id.as_str().into()]).await.map(|_| ())
    }

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
