//! One device's attempts, and the answer to a check update.

use cause::Cause;
use chrono::{DateTime, Utc};
use contract::{DeviceId, Version};
use fleet::UpdateState;
use serde::{Deserialize, Serialize};

use crate::word::{Word, if_readable};

/// One device's attempt.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Update {
    /// Its number.
    pub id: i64,
    /// Whose.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub device: DeviceId,
    /// What ran before, in the device's words.
    pub from: Option<String>,
    /// What was offered.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub to: Word<Version>,
    /// Where it stands.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub state: Word<UpdateState>,
    /// Why, in words, without the code; null while nothing is to be explained.
    pub reason: Option<String>,
    /// Why, for programs: one of the contract's codes (`wrong_chip`, `crash_loop`, …); null if the device gave none.
    pub code: Option<String>,
    /// Why, where the server found it out: a code with parameters, of which `reason` is the sentence; null otherwise.
    #[serde(default, deserialize_with = "if_readable")]
    pub cause: Option<Cause>,
    /// The artifact's size, in bytes.
    pub bytes: u64,
    /// What the device does now (`download`, `verify`, `restart`), if it says.
    pub phase: Option<String>,
    /// Bytes done of this phase.
    #[serde(default)]
    pub done: u64,
    /// When the decision was made.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// Its trigger is still to be sent.
    #[serde(default)]
    pub waiting: bool,
    /// It is kept for a device that is not there until then, and cancelled; null where it is not.
    #[serde(default)]
    pub expires_at: Option<DateTime<Utc>>,
    /// The device asked to be left alone until then; null if it did not.
    #[serde(default)]
    pub deferred_until: Option<DateTime<Utc>>,
    /// It succeeded by the device's word, and no report of the version has confirmed it.
    #[serde(default)]
    pub unconfirmed: bool,
}

/// The answer to a check update.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CheckAnswer {
    /// One of the decision's words (`offered`, `up_to_date`, …).
    pub decision: String,
    /// The version it is about, if any.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub version: Option<Version>,
    /// One sentence for a person.
    pub reason: String,
    /// The same for programs: a code with parameters.
    #[serde(default, deserialize_with = "if_readable")]
    pub cause: Option<Cause>,
    /// The update that was made, or the one in progress.
    pub update: Option<Update>,
}

/// How to check.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct CheckRequest {
    /// Send although the device seems to be offline, and tell it not to put the update off.
    pub force: bool,
    /// Keep the update for a device that is offline, and send it when it comes.
    pub when_online: bool,
    /// For how many seconds, 60 to 2,592,000; a week if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_s: Option<u32>,
}
