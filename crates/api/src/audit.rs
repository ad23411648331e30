//! Who did what, and what happened to an update.

use cause::Cause;
use chrono::{DateTime, Utc};
use fleet::UpdateState;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::word::{Word, if_readable};

/// Something that somebody did. Entries are never changed, and their ids never given again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditEntry {
    /// Its number: a later entry has a higher one.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// `person`, `token`, `job` or `system`.
    pub actor_kind: String,
    /// The name of the user, the token or the job.
    pub actor: String,
    /// Where the request came from.
    pub address: Option<String>,
    /// What was done: `device.register`, `release.publish`, …
    pub action: String,
    /// `device`, `product`, `token` or `user`.
    pub subject_kind: String,
    /// What it was done to.
    pub subject: String,
    /// What was there before, of what was changed.
    pub before: Option<Value>,
    /// What is there since. Of an act on the store, `outcome` is `begun`, and `done` or why not in the entry after.
    pub after: Option<Value>,
}

/// Which entries.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditQuery {
    /// The first above this id.
    pub after: Option<i64>,
    /// The last below this id; of all where neither is said.
    pub before: Option<i64>,
    /// Items a page, 1 to 500; 100 if not said.
    pub limit: Option<u32>,
    /// By this user, token or job.
    pub actor: Option<String>,
    /// Of this kind.
    pub action: Option<String>,
    /// About this device, product, token or user.
    pub subject: Option<String>,
}

/// Something that changed an update.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateEvent {
    /// Its number: a later event has a higher one.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// `offered`, `sent`, `request`, `progress`, `status`, `report`, `silence`, `cancel` or `blocked`.
    pub kind: String,
    /// Who wrote it: `person`, `token`, `job`, `device` or `system`.
    pub actor_kind: String,
    /// The name of the user, the token or the job; none for the device itself.
    pub actor: String,
    /// The state before; null where it began.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub from: Option<Word<UpdateState>>,
    /// The state since.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub to: Word<UpdateState>,
    /// Why, in words, without the code; null where there is nothing to explain.
    pub reason: Option<String>,
    /// The device's code, if it gave one.
    pub code: Option<String>,
    /// Why, where the server found it out.
    #[serde(default, deserialize_with = "if_readable")]
    pub cause: Option<Cause>,
    /// What the device did (`download`, `verify`, `restart`), if it said.
    pub phase: Option<String>,
    /// Bytes done of this phase.
    pub done: u64,
}
