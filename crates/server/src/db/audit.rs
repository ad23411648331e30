//! Who did what: entries that are written with what they are about, and never changed.

use std::fmt::Display;

use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue, QueryOrder, QuerySelect, QueryTrait, Set};
use serde_json::Value as Json;

use super::audit_entry::{Action, ActiveModel, Column, Entity, Model};
use super::connection::{Query, Write};
use super::values::Text;
use crate::clock::now_ms;

/// What a list of entries is narrowed to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Filter<'a> {
    pub(crate) actor: Option<&'a str>,
    pub(crate) action: Option<&'a str>,
    pub(crate) subject: Option<&'a str>,
}

/// Where a page of them is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// The first above this id.
    After(i64),
    /// The last below this id.
    Before(i64),
}

/// Entries in the order of their ids, which is that of their commits.
pub(crate) async fn page(
    query: &impl Query,
    filter: Filter<'_>,
    place: Place,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    let mut entries = select(filter, place, limit).all(query.connection()).await?;
    entries.sort_unstable_by_key(|entry| entry.id);
    Ok(entries)
}

pub(super) fn select(filter: Filter<'_>, place: Place, limit: u64) -> Select<Entity> {
    let entries = Entity::find()
        .apply_if(filter.actor, |select, actor| select.filter(Column::Actor.eq(actor)))
        .apply_if(filter.action, |select, action| select.filter(Column::Action.eq(action)))
        .apply_if(filter.subject, |select, subject| select.filter(Column::Subject.eq(subject)))
        .limit(limit);
    match place {
        Place::After(id) => entries.filter(Column::Id.gt(id)).order_by_asc(Column::Id),
        Place::Before(id) => entries.filter(Column::Id.lt(id)).order_by_desc(Column::Id),
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
            actor_kind: Set(Text(self.by.kind)),
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
