//! Who asks, and what they may do.

use oidc::Scope;

use api::Role;

/// Who asks: the name for the log, and what they may do.
#[derive(Debug, Clone)]
pub struct Actor {
    /// User or token name.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The product that it is confined to, whatever the role may.
    pub scope: Option<Scope>,
}
