mod damaged;
mod figures;
mod history;
mod lists;
mod migrations;
mod mirror;
mod plans;
mod postgres;
mod seals;
mod writes;

use contract::DeviceId;
use fleet::UpdateState;
use tempfile::TempDir;

use super::device::DeviceRow;
use super::update::UpdateRow;
use super::values::Text;
use super::*;
use crate::config::{Config, DatabaseConfig, Secret};
use crate::tests::database::database_url;
use crate::tests::rig::BY;

fn config(url: String) -> DatabaseConfig {
    DatabaseConfig { url: Secret::new(url), ..Config::default().database }
}

/// A database of its own for a test, on what the tests run on.
async fn open() -> (TempDir, Db) {
    let folder = tempfile::tempdir().expect("a folder");
    let db = Db::open(&config(database_url(folder.path()))).await.expect("opens");
    (folder, db)
}

fn id(text: &str) -> DeviceId {
    text.parse().expect("an id")
}

fn an_update(device: &DeviceId) -> UpdateRow {
    let [product, key] = ["p", "p/releases/v1.1.0/firmware.bin"];
    let (product, to) = (product.parse().expect("a product"), "1.1.0".parse().expect("a version"));
    UpdateRow {
        from_version: Some("1.0.0".to_owned()),
        sha256: Some(Text(contract::Sha256([1; 32]))),
        bytes: 10,
        ..UpdateRow::offered(device.clone(), product, to, key.to_owned(), 1)
    }
}

impl Write {
    /// Makes devices known and locks them.
    async fn known(&self, id: &DeviceId) -> Locked<DeviceRow> {
        self.insert_devices(vec![id.clone()], 5).await.expect("inserted");
        self.lock_device(id).await.expect("locked").expect("there")
    }

    async fn insert_update(
        &mut self,
        device: &mut Locked<DeviceRow>,
        update: UpdateRow,
    ) -> Result<i64, sea_orm::DbErr> {
        Ok(self.insert_updates(&mut [(device, update)]).await?[0])
    }

    async fn save_both(&self, device: &mut Locked<DeviceRow>, update: &Locked<UpdateRow>) {
        self.save(std::iter::once((device, Some(update)))).await.expect("saved");
    }
}
