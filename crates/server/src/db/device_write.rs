//! Writing devices and their tags.

use contract::{DeviceId, Presence, ProductName, Version};
use sea_orm::{DbErr, Value};

use super::column::json;
use super::connection::{ROWS_PER_STATEMENT, Write, tuples};
use super::device::DeviceRow;

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
