//! The caller of a request that passed the guard.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::problem::Problem;
use super::right::Right;
use super::state::Web;
use crate::access::Actor;

/// Who asks, and for what.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Name and role.
    pub(crate) actor: Actor,
    /// The secret it came with, to end the session or to see whether it still holds.
    pub(crate) secret: String,
    /// What the route asks.
    pub(super) right: Right,
}

impl Caller {
    /// Whether this caller may do it, as the role says.
    pub(crate) fn may(&self, right: Right) -> bool {
        right.is_of(self.actor.role)
    }
}

impl FromRequestParts<Web> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Web) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::unauthorized)
    }
}
