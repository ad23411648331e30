//! Rollouts: how a version is given to a fleet, and how far that is.

use contract::{ProductName, Version};
use serde::{Deserialize, Serialize};

/// One rollout of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Its number; higher is newer.
    pub id: u64,
    /// Of which product.
    pub product: ProductName,
    /// What is rolled out.
    pub version: Version,
    /// Where it is in its life.
    pub state: RolloutState,
    /// The step that it is in.
    pub step: Option<u64>,
    /// Why it was halted or aborted.
    pub halt_reason: Option<String>,
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
