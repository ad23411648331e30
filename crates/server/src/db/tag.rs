//! The tags of devices.

use contract::DeviceId;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, Set};

use super::connection::{Query, ROWS_PER_STATEMENT, Write};
use super::device::DeviceRow;
use super::locked::Locked;
use super::values::Text;

#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "device_tags")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) device: Text<DeviceId>,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tag: String,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Of each of these devices, in order.
pub(crate) async fn of_devices(query: &impl Query, ids: &[DeviceId]) -> Result<Vec<Model>, DbErr> {
    let mut tags = Vec::new();
    for ids in ids.chunks(ROWS_PER_STATEMENT) {
        let of = Column::Device.is_in(ids.iter().map(DeviceId::as_str));
        let found = Entity::find().filter(of).order_by_asc(Column::Device).order_by_asc(Column::Tag);
        tags.extend(found.all(query.connection()).await?);
    }
    Ok(tags)
}

impl Write {
    /// Replaces a device's tags; each stands once.
    pub(crate) async fn set_tags(&self, device: &Locked<DeviceRow>, tags: &[String]) -> Result<(), DbErr> {
        Entity::delete_many().filter(Column::Device.eq(device.id.clone())).exec(self.connection()).await?;
        let rows =
            tags.iter().map(|tag| ActiveModel { device: Set(device.id.clone()), tag: Set(tag.clone()) });
        if !tags.is_empty() {
            Entity::insert_many(rows).exec_without_returning(self.connection()).await?;
        }
        Ok(())
    }
}
