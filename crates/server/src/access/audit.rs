//! Who did what, as it is shown.

use api::{AuditEntry, AuditQuery, Page};
use cause::service as causes;

use super::service::Access;
use crate::clock::time;
use crate::db::audit::{Filter, Place, page};
use crate::error::Error;

/// Entries of a page, where nothing is said, and at most.
const ENTRIES: u32 = 100;
const ENTRIES_MAX: u32 = 500;

impl Access {
    /// Entries in the order of their ids. `next` is for `after`, if that was asked, and else for `before`.
    pub async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEntry>, Error> {
        let limit = query.limit.unwrap_or(ENTRIES);
        if !(1..=ENTRIES_MAX).contains(&limit) {
            return Err(Error::Invalid(causes::PAGE_SIZE.with("most", ENTRIES_MAX).with("asked", limit)));
        }
        let filter = Filter {
            actor: text(query.actor.as_deref())?,
            action: text(query.action.as_deref())?,
            subject: text(query.subject.as_deref())?,
        };
        let place = match (query.after, query.before) {
            (Some(id), _) => Place::After(id),
            (None, before) => Place::Before(before.unwrap_or(i64::MAX)),
        };
        let mut entries = page(&self.db, filter, place, u64::from(limit) + 1).await?;
        let has_more = entries.len() > limit as usize;
        let next = match place {
            Place::After(_) => {
                entries.truncate(limit as usize);
                entries.last()
            }
            Place::Before(_) => {
                entries.drain(..entries.len().saturating_sub(limit as usize));
                entries.first()
            }
        };
        let next = next.filter(|_| has_more).map(|entry| entry.id.to_string());
        let shown = |entry: crate::db::AuditEntry| AuditEntry {
            id: entry.id,
            at: time(entry.at),
            actor_kind: entry.actor_kind.as_str().to_owned(),
            actor: entry.actor,
            address: entry.address,
            action: entry.action,
            subject_kind: entry.subject_kind,
            subject: entry.subject,
            before: entry.before.map(|before| before.0),
            after: entry.after.map(|after| after.0),
        };
        Ok(Page { items: entries.into_iter().map(shown).collect(), next })
    }
}

/// Empty is the same as absent.
fn text(text: Option<&str>) -> Result<Option<&str>, Error> {
    if text.is_some_and(|text| text.contains('\0')) {
        return Err(Error::Invalid(causes::TEXT.cause()));
    }
    Ok(text.filter(|text| !text.is_empty()))
}
