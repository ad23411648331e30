//! Seals of the audit, in a chain: the digest of each is made of the entries since the seal before, and of that one's digest.
//! Entries that somebody changes, removes or adds below a seal are found by it. Only ever added to.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{IntoActiveModel, Iterable, QueryOrder, QuerySelect};
use sha2::{Digest, Sha256};

use super::audit_entry;
use super::connection::{Query, Write};

/// Entries that are read at a time.
const CHUNK: u64 = 1000;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_seals")]
pub(crate) struct Model {
    /// Counted from 1, without gaps.
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: i64,
    /// The last of its entries.
    pub(crate) up_to: i64,
    pub(crate) entries: i64,
    pub(crate) at: i64,
    /// In hexadecimal.
    pub(crate) digest: String,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// An entry as it is stored, with each of its columns: also what could not be decoded is sealed.
type Entry =
    (i64, i64, String, String, Option<String>, String, String, String, Option<String>, Option<String>);

/// The seals above a number, in order.
pub(crate) async fn above(query: &impl Query, id: i64, limit: u64) -> Result<Vec<Model>, DbErr> {
    let seals = Entity::find().filter(Column::Id.gt(id)).order_by_asc(Column::Id);
    seals.limit(limit).all(query.connection()).await
}

pub(crate) async fn newest(query: &impl Query) -> Result<Option<Model>, DbErr> {
    Entity::find().order_by_desc(Column::Id).one(query.connection()).await
}

/// The seal of what comes after the one before, up to an entry and so many of them; `None` if there is nothing. It is the same
/// whenever it is made, as long as the entries are.
pub(crate) async fn made(
    query: &impl Query,
    before: Option<&Model>,
    up_to: i64,
    most: u64,
    at: i64,
) -> Result<Option<Model>, DbErr> {
    let (mut digest, mut entries, mut last) = (Sha256::new(), 0, None);
    let mut first = before.map_or(i64::MIN, |before| before.up_to.saturating_add(1));
    while entries < most {
        let chunk = CHUNK.min(most - entries);
        let found: Vec<Entry> = audit_entry::Entity::find()
            .select_only()
            .columns(audit_entry::Column::iter())
            .filter(audit_entry::Column::Id.between(first, up_to))
            .order_by_asc(audit_entry::Column::Id)
            .limit(chunk)
            .into_tuple()
            .all(query.connection())
            .await?;
        for entry in &found {
            add(&mut digest, entry);
            last = Some(entry.0);
        }
        entries += found.len() as u64;
        let Some(next) = last.and_then(|last| last.checked_add(1)).filter(|_| found.len() as u64 == chunk)
        else {
            break;
        };
        first = next;
    }
    let Some(up_to) = last else { return Ok(None) };
    let id = before.map_or(1, |before| before.id.saturating_add(1));
    let entries = i64::try_from(entries).unwrap_or(i64::MAX);
    add(&mut digest, &(before.map_or("", |before| &before.digest), id, up_to, entries, at));
    Ok(Some(Model { id, up_to, entries, at, digest: hex::encode(digest.finalize()) }))
}

/// A line of JSON: no two are written alike.
fn add(digest: &mut Sha256, line: &impl serde::Serialize) {
    digest.update(serde_json::to_vec(line).expect("numbers and texts can be written as JSON"));
    digest.update(b"\n");
}

/// How many entries come after a seal.
pub(crate) async fn unsealed(query: &impl Query, newest: Option<&Model>) -> Result<u64, DbErr> {
    let above = audit_entry::Column::Id.gt(newest.map_or(i64::MIN, |newest| newest.up_to));
    audit_entry::Entity::find().filter(above).count(query.connection()).await
}

impl Write {
    /// Adds a seal; `false` if one of this number is there, which another server made.
    pub(crate) async fn insert_seal(&self, seal: &Model) -> Result<bool, DbErr> {
        let insert = Entity::insert(seal.clone().into_active_model());
        let once = OnConflict::column(Column::Id).do_nothing().to_owned();
        Ok(insert.on_conflict(once).exec_without_returning(self.connection()).await? > 0)
    }
}
