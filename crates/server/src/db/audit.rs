//! Who did what: entries that are written with what they are about, and never changed.

use std::fmt::Display;

use api::AuditQuery;
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue, QueryOrder, QuerySelect, Set};
use serde_json::Value as Json;

use super::audit_entry::{Action, ActiveModel, Column, Entity, Model};
use super::connection::{Query, Write};
use super::values::Text;
use crate::clock::now_ms;

/// Entries that are asked for, in the order of their ids, which is that of their commits: upwards from `after`, or else downwards.
pub(crate) async fn page(query: &impl Query, asked: &AuditQuery, limit: u64) -> Result<Vec<Model>, DbErr> {
    selected(asked, limit).all(query.connection()).await
}

pub(super) fn selected(asked: &AuditQuery, limit: u64) -> Select<Entity> {
    let mut entries = Entity::find().limit(limit);
    let of =
        [(Column::Actor, &asked.actor), (Column::Action, &asked.action), (Column::Subject, &asked.subject)];
    for (column, value) in of {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            entries = entries.filter(column.eq(value));
        }
    }
    match asked.after {
        Some(id) => entries.filter(Column::Id.gt(id)).order_by_asc(Column::Id),
        None => entries.filter(Column::Id.lt(asked.before.unwrap_or(i64::MAX))).order_by_desc(Column::Id),
    }
}

impl Write {
    /// Notes what is done here, to be written by the commit: with it or not at all.
    pub(crate) fn audit(
        &mut self,
        Action(action, kind): Action,
        subject: &impl Display,
        before: Json,
        after: Json,
    ) {
        let known = |json: Json| Some(Text(json)).filter(|Text(json)| !json.is_null());
        self.audited.push(ActiveModel {
            id: ActiveValue::NotSet,
            at: Set(now_ms()),
            actor_kind: Set(self.by.kind.as_str().to_owned()),
            actor: Set(self.by.name.clone().into_owned()),
            address: Set(self.by.address.map(|address| address.to_string())),
            action: Set(action.to_owned()),
            subject_kind: Set(kind.to_owned()),
            subject: Set(subject.to_string()),
            before: Set(known(before)),
            after: Set(known(after)),
        });
    }
}
