//! Who sends a request, and whether it may try to log in once more.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::HeaderValue;
use axum::http::request::Parts;

use super::problem::Problem;
use super::state::Web;
use crate::access::source;

/// The sender's address.
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
