//! Rollouts: how a version is given to a fleet, and how far that is.

use cause::Cause;
use chrono::{DateTime, Utc};
use contract::{DeviceId, ProductName, Version};
use fleet::rollout::{HaltAt, Step, Window};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::word::if_readable;

/// A rollout that is asked for; only the version is required.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewRollout {
    /// Which release.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub version: Version,
    /// Parts of the devices, each `{"percent", "soak_s"}`, up to 100 %; one of all devices if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<Object>>))]
    pub steps: Option<Vec<Step>>,
    /// Which of the product's devices; all of them if not said.
    #[serde(default)]
    pub selector: Selector,
    /// At most so many devices are at work on it at once; 500 if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u32>,
    /// When it stops by itself: `{"tolerated_percent": 3, "unacceptable_percent": 10}` if not said, or fixed numbers,
    /// `{"failed_percent", "min_count"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub halt_at: Option<HaltAt>,
    /// Whether the version is blocked if it stops by itself; true if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_on_halt: Option<bool>,
    /// Whether the version is promoted to production once it is done; true if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promote: Option<bool>,
    /// A device that is silent for so long has failed; `fleet.update_timeout_s` if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_timeout_s: Option<u32>,
    /// Who was not offered it by then is not offered it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// `{"from": "01:00", "to": "05:00", "tz": "Europe/Berlin"}`: when devices are offered it; always if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub window: Option<Window>,
    /// Only say what it would do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

impl NewRollout {
    /// Of all devices, with what is not said as it is then.
    pub fn of(version: Version) -> Self {
        Self {
            version,
            steps: None,
            selector: Selector::default(),
            max_in_flight: None,
            halt_at: None,
            block_on_halt: None,
            promote: None,
            update_timeout_s: None,
            expires_at: None,
            window: None,
            dry_run: false,
        }
    }
}

/// Why a rollout is ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Ending {
    /// Shown with the rollout.
    pub reason: Option<String>,
}

/// Devices that meet all of what is said; of a list, one is enough.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Selector {
    /// In one of these groups.
    #[serde(deserialize_with = "some", skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// With one of these tags.
    #[serde(deserialize_with = "some", skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// One of these.
    #[serde(deserialize_with = "some", skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub ids: Vec<DeviceId>,
    /// Running a version in this range, such as `>=1.0.0, <1.2.0`; pre-releases are in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub versions: Option<String>,
}

/// A list that is said has something in it: an empty one of a script that found nothing would mean every device.
fn some<'de, D: Deserializer<'de>, T: Deserialize<'de>>(list: D) -> Result<Vec<T>, D::Error> {
    let list = Vec::<T>::deserialize(list)?;
    if list.is_empty() {
        return Err(de::Error::custom("an empty list selects nobody; leave it out to select every device"));
    }
    Ok(list)
}

/// Devices that were selected and do not take part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LeftOut {
    /// A decision's word, such as `up_to_date`.
    pub decision: String,
    /// Why, of the first of them.
    pub reason: String,
    /// How many.
    pub devices: u64,
    /// Some of them.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub examples: Vec<DeviceId>,
}

/// What a rollout would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RolloutPreview {
    /// How many devices take part.
    pub devices: u64,
    /// How many each step adds to those before it.
    pub steps: Vec<u64>,
    /// How many of them are online now.
    pub online: u64,
    /// Who was selected and does not.
    pub left_out: Vec<LeftOut>,
}

/// A device of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RolloutDevice {
    /// Which one.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub device: DeviceId,
    /// Its step, counted from 1.
    pub step: u64,
    /// `waiting`, or the state of its update.
    pub state: String,
    /// The update that the rollout made for it last.
    pub update: Option<i64>,
    /// What it ran before.
    pub from: Option<String>,
    /// Why it ended, or why it gets none.
    pub reason: Option<String>,
}

/// Which of a rollout's devices.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RolloutDeviceQuery {
    /// In this state; `in_flight` and `not_succeeded` are several.
    pub state: Option<String>,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// Items a page, 1 to 500; 100 if not said.
    pub limit: Option<u32>,
}

/// A step of a rollout, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RolloutStep {
    /// What was asked for.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub step: Step,
    /// Of the devices that it adds to those before it.
    pub counts: RolloutCounts,
}

/// One rollout of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Rollout {
    /// Its number; higher is newer.
    pub id: u64,
    /// Of which product.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub product: ProductName,
    /// What is rolled out.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub version: Version,
    /// Where it is in its life.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub state: RolloutState,
    /// The step that it is in, counted from 1.
    pub step: Option<u64>,
    /// Why it was halted or aborted, or is done and was not promoted.
    pub halt_reason: Option<String>,
    /// The same for programs: a code with parameters.
    #[serde(default, deserialize_with = "if_readable")]
    pub cause: Option<Cause>,
    /// Whether the version was blocked because it was halted.
    #[serde(default)]
    pub blocked: bool,
    /// Until when the step is watched, once its devices have ended.
    #[serde(default)]
    pub soak_until: Option<DateTime<Utc>>,
    /// When its window opens next, while it is closed.
    #[serde(default)]
    pub window_opens_at: Option<DateTime<Utc>>,
    /// Each step.
    #[serde(default)]
    pub steps: Vec<RolloutStep>,
    /// Who was selected at the start and does not take part.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
    /// What was asked for.
    #[serde(default, deserialize_with = "if_readable")]
    pub request: Option<NewRollout>,
    /// By whom.
    #[serde(default)]
    pub created_by: String,
    /// When it began.
    #[serde(default)]
    pub created_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(default)]
    pub finished_at: Option<DateTime<Utc>>,
    /// How many devices are where.
    #[serde(default)]
    pub counts: RolloutCounts,
}

/// Where a rollout is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RolloutState {
    /// Devices are offered the version.
    Running,
    /// A person stopped it for a while.
    Paused,
    /// Too many devices failed.
    Halted,
    /// A person ended it.
    Aborted,
    /// Every step ended well.
    Done,
    /// A word of a newer server's.
    Other(String),
}

impl RolloutState {
    /// The word in JSON.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Halted => "halted",
            Self::Aborted => "aborted",
            Self::Done => "done",
            Self::Other(word) => word,
        }
    }
}

impl TryFrom<String> for RolloutState {
    type Error = &'static str;

    fn try_from(word: String) -> Result<Self, Self::Error> {
        Ok(match word.as_str() {
            "" => return Err("a rollout's state is a word"),
            "running" => Self::Running,
            "paused" => Self::Paused,
            "halted" => Self::Halted,
            "aborted" => Self::Aborted,
            "done" => Self::Done,
            _ => Self::Other(word),
        })
    }
}

impl From<RolloutState> for String {
    fn from(state: RolloutState) -> Self {
        state.as_str().to_owned()
    }
}

/// How many of a rollout's devices are where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct RolloutCounts {
    /// All of them.
    pub total: u64,
    /// Not offered it yet.
    pub waiting: u64,
    /// At work on it.
    pub in_flight: u64,
    /// Run it.
    pub succeeded: u64,
    /// Said that it failed.
    pub failed: u64,
    /// Took it back.
    pub rolled_back: u64,
    /// Fell silent.
    pub timed_out: u64,
    /// Were stopped.
    pub cancelled: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_is_no_selection_of_all() {
        let read = |selector: &str| serde_json::from_str::<Selector>(selector).map_err(|why| why.to_string());
        assert_eq!(read("{}"), Ok(Selector::default()));
        assert!(read(r#"{"ids":["d1"]}"#).is_ok());
        for empty in [r#"{"ids":[]}"#, r#"{"tags":[]}"#, r#"{"groups":[]}"#] {
            assert!(read(empty).expect_err("refused").contains("leave it out"), "{empty}");
        }
    }
}
