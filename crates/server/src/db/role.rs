//! What somebody may do, as users and tokens have it.

use serde::{Deserialize, Serialize};

/// What an actor may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    Admin,
    /// Everything but tokens.
    Operator,
    /// Read, publish and promote.
    Ci,
    /// Read.
    Viewer,
}

impl Role {
    /// Every role, the one with the most rights first.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Operator, Self::Ci, Self::Viewer];

    /// The word on the command line and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Ci => "ci",
            Self::Viewer => "viewer",
        }
    }

    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}
