//! How somebody comes in, and what tokens may do.

use chrono::{DateTime, Utc};
use contract::ProductName;
use serde::{Deserialize, Serialize};

/// Name and password, or any name and an API token.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// User name.
    pub name: String,
    /// Password or token.
    pub password: String,
}

/// A session.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Session {
    /// Use it as a bearer token.
    pub token: String,
    /// Until then, in seconds from now.
    pub expires_in_s: u64,
}

/// A statement that a CI system signed about one of its jobs.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct OidcLogin {
    /// The OIDC token: a JWT for the audience `http.public_url`, without a slash at its end.
    pub token: String,
    /// Needed only where the publisher is trusted with several products.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub product: Option<ProductName>,
}

/// A trusted publisher's token.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PublisherToken {
    /// Use it as a bearer token.
    pub token: String,
    /// Until then.
    pub expires_at: DateTime<Utc>,
    /// For this product only.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub product: ProductName,
    /// Whether it may point channels.
    pub may_promote: bool,
    /// The checks of the gate that it may overrule.
    pub allow: Vec<String>,
}

/// What a caller may do.
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
    /// Every role, the mightiest first.
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

/// A token, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenInfo {
    /// Its name; several of a publisher's may have the same.
    pub name: String,
    /// `api`: somebody made it; `publisher`: a trusted publisher got it.
    pub kind: String,
    /// The only product that a publisher's is for.
    pub product: Option<ProductName>,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends; null: never.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    pub used_at: Option<DateTime<Utc>>,
}
