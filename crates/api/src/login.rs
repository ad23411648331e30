//! How somebody comes in.

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
