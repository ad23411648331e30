//! Who did what, as it is shown.

use api::{AuditEntry, AuditQuery, Page};
use cause::service as causes;

use super::service::Access;
use crate::clock::time;
use crate::db::{AuditEntry as Row, audit};
use crate::error::Error;

/// Entries of a page, where nothing is said, and at most.
const ENTRIES: u32 = 100;
const ENTRIES_MAX: u32 = 500;

impl Access {
    /// Entries in the order of their ids. `next` is for `after`, if that was asked, and else for `before`.
    #[crate::boxed]
    pub async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEntry>, Error> {
        let limit = query.limit.unwrap_or(ENTRIES);
        if !(1..=ENTRIES_MAX).contains(&limit) {
            return Err(Error::Invalid(causes::PAGE_SIZE.with("most", ENTRIES_MAX).with("asked", limit)));
        }
        if [&query.actor, &query.action, &query.subject].into_iter().flatten().any(|text| text.contains('\0'))
        {
            return Err(Error::Invalid(causes::TEXT.cause()));
        }
        let mut entries = audit::page(&self.db, query, u64::from(limit) + 1).await?;
        let has_more = entries.len() > limit as usize;
        entries.truncate(limit as usize);
        let next = entries.last().filter(|_| has_more).map(|entry| entry.id.to_string());
        if query.after.is_none() {
            entries.reverse();
        }
        let shown = |entry: Row| AuditEntry {
            id: entry.id,
            at: time(entry.at),
            actor_kind: entry.actor_kind,
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
