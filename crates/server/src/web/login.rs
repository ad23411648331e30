//! The one way in by password or link, for the API and for the pages, and who may try it once more.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};

use super::cookies::SESSION_LIFETIME;
use super::problem::Problem;
use super::state::Web;
use crate::access::source;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Source(pub(crate) IpAddr);

impl FromRequestParts<Web> for Source {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0);
        let lines = parts.headers.get_all("x-forwarded-for").iter().collect::<Vec<_>>();
        Ok(Self(source(peer, lines.into_iter().map(HeaderValue::as_bytes), &web.proxies)))
    }
}

/// A request of a publisher whose sender had an attempt left. To be asked for before the body is read.
pub(crate) struct Attempt;

impl FromRequestParts<Web> for Attempt {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        let Ok(Source(source)) = Source::from_request_parts(parts, web).await;
        web.publisher_logins.take(source, Instant::now())?;
        Ok(Self)
    }
}

pub(crate) struct Login {
    web: Web,
    source: Source,
}

impl FromRequestParts<Web> for Login {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Self::Rejection> {
        let source = Source::from_request_parts(parts, web).await?;
        Ok(Self { web: web.clone(), source })
    }
}

impl Login {
    /// The secret of a session for a name and a password.
    pub(crate) async fn with_password(
        &self,
        headers: &HeaderMap,
        name: &str,
        password: &str,
    ) -> Result<String, Problem> {
        // A foreign page must not log its visitor in as somebody else; programs send neither header.
        let from_a_page = headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
        if from_a_page && !self.web.cookies.same_origin(headers) {
            return Err(Problem::forbidden("this login came from another site"));
        }
        self.web.logins.take(self.source.0, Instant::now())?;
        let found = self.web.services.access.login(name.trim(), password, SESSION_LIFETIME).await?;
        found.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "this name and password do not fit"))
    }

    /// The secret of a session for a login link's.
    pub(crate) async fn with_link(&self, key: &str) -> Result<String, Problem> {
        self.web.logins.take(self.source.0, Instant::now())?;
        self.web.services.access.login_with_link(key, SESSION_LIFETIME).await?.ok_or_else(|| {
            let why = "this login link is not known here, or has expired";
            Problem::new(StatusCode::UNAUTHORIZED, why)
        })
    }
}
