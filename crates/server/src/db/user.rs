//! Users: who logs in with a password.

use api::Role;
use sea_orm::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;

use super::connection::{Db, Query, Write};
use super::values::Text;

#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) name: String,
    pub(crate) password_hash: String,
    pub(crate) role: Text<Role>,
    pub(crate) created_at: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Db {
    pub(crate) async fn user(&self, name: &str) -> Result<Option<Model>, DbErr> {
        Entity::find_by_id(name).one(self.connection()).await
    }
}

impl Write {
    /// Makes a user if there is none at all. Answers whether it did.
    pub(crate) async fn insert_first_user(
        &self,
        name: &str,
        password_hash: &str,
        role: Role,
        now: i64,
    ) -> Result<bool, DbErr> {
        if Entity::find().one(self.connection()).await?.is_some() {
            return Ok(false);
        }
        let user = ActiveModel {
            name: Set(name.to_owned()),
            password_hash: Set(password_hash.to_owned()),
            role: Set(Text(role)),
            created_at: Set(now),
        };
        let unless_there = OnConflict::column(Column::Name).do_nothing().to_owned();
        let insert = Entity::insert(user).on_conflict(unless_there);
        Ok(insert.exec_without_returning(self.connection()).await? > 0)
    }
}
