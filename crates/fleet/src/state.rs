//! The states of an update.

use core::fmt;

use serde::{Deserialize, Serialize};

/// Where an update stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateState {
    /// The trigger was sent, or is about to be.
    Offered,
    /// The device is fetching.
    Downloading,
    /// The device is about to restart, or has.
    Restarting,
    /// The target runs.
    Succeeded,
    /// The device said so; the old image runs.
    Failed,
    /// The new image ran and was taken back.
    RolledBack,
    /// The device fell silent.
    TimedOut,
    /// A person stopped it.
    Cancelled,
}

impl UpdateState {
    /// Every state, in the order of an update's life.
    pub const ALL: [Self; 8] = [
        Self::Offered,
        Self::Downloading,
        Self::Restarting,
        Self::Succeeded,
        Self::Failed,
        Self::RolledBack,
        Self::TimedOut,
        Self::Cancelled,
    ];

    /// The word in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Downloading => "downloading",
            Self::Restarting => "restarting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether the device may still be at work on it.
    pub fn is_in_flight(self) -> bool {
        matches!(self, Self::Offered | Self::Downloading | Self::Restarting)
    }
}

impl fmt::Display for UpdateState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
