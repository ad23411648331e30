//! Who sends a request, and what its route asks of the caller.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, header};

use super::cookies::cookie;
use super::problem::Problem;
use super::state::Web;
use crate::access::{Identity, Role, source};
use crate::actor::Actor;

/// One for each route, said where the route is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// Nothing: it answers without credentials, or carries its own in the URL.
    Public,
    Read,
    Release,
    /// Change devices, updates and the blocked list.
    Operate,
    /// See who did what.
    Administer,
    /// Look at a product's releases: also for a publisher that is trusted with it.
    ReadProduct,
    /// Publish a product: also for a publisher that is trusted with it.
    Publish,
    /// Point a product's channels: also for a publisher that is trusted to promote it.
    Promote,
}

impl Right {
    /// Whether callers of this role have it.
    pub(crate) fn is_of(self, role: Role) -> bool {
        match self {
            Self::Public | Self::Read | Self::ReadProduct => true,
            Self::Release | Self::Publish | Self::Promote => {
                matches!(role, Role::Admin | Role::Operator | Role::Ci)
            }
            Self::Operate => matches!(role, Role::Admin | Role::Operator),
            Self::Administer => role == Role::Admin,
        }
    }

    /// Whether a caller who is confined to one product may have it, for that product. The handler takes the product by
    /// [`super::guard::Own`], which refuses any other.
    pub(super) fn is_of_publishers(self) -> bool {
        matches!(self, Self::Public | Self::ReadProduct | Self::Publish | Self::Promote)
    }

    /// What it lets somebody do, to follow "may".
    pub(super) fn as_words(self) -> &'static str {
        match self {
            Self::Public | Self::Read | Self::ReadProduct => "read",
            Self::Release | Self::Publish | Self::Promote => "publish or promote",
            Self::Operate => "change devices or the blocked list",
            Self::Administer => "see who did what",
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) identity: Identity,
    /// The secret it came with, to end the session or to see whether it still holds.
    pub(crate) secret: String,
    pub(super) right: Right,
}

impl Caller {
    #[cfg(test)]
    pub(crate) fn in_a_test(by: &Actor) -> Self {
        let identity = Identity { actor: by.clone(), role: Role::Admin, scope: None };
        Self { identity, secret: String::new(), right: Right::Operate }
    }

    /// As whom this caller writes.
    pub(crate) fn by(&self) -> &Actor {
        &self.identity.actor
    }

    /// Whether this caller may do it, as the role says.
    pub(crate) fn may(&self, right: Right) -> bool {
        right.is_of(self.identity.role)
    }
}

impl FromRequestParts<Web> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Web) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::unauthorized)
    }
}

/// Where a request comes from, past the trusted proxies.
pub(super) fn address(extensions: &Extensions, headers: &HeaderMap, web: &Web) -> IpAddr {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0);
    let lines = headers.get_all("x-forwarded-for").iter().collect::<Vec<_>>();
    source(peer, lines.into_iter().map(HeaderValue::as_bytes), &web.proxies)
}

pub(super) struct Credentials {
    pub(super) secret: String,
    pub(super) by_cookie: bool,
}

/// A bearer token wins over a cookie, since only a program can send it on purpose.
pub(super) fn credentials(headers: &HeaderMap, cookie_name: &str) -> Option<Credentials> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, secret) = value.to_str().ok()?.split_once(' ')?;
        let bearer = scheme.eq_ignore_ascii_case("bearer");
        return bearer.then(|| Credentials { secret: secret.trim().to_owned(), by_cookie: false });
    }
    let secret = cookie(headers, cookie_name)?;
    Some(Credentials { secret, by_cookie: true })
}

/// Asks for the changing parts of a page only.
pub(crate) const FRAGMENT: HeaderName = HeaderName::from_static("x-updraft-fragment");
