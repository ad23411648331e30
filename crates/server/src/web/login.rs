//! The one way in by password or link, for the API and for the pages, and who may try it once more.

use std::net::IpAddr;
use std::time::Instant;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};

use super::caller::address;
use super::cookies::SESSION_LIFETIME;
use super::problem::Problem;
use super::state::Web;

/// A request of a publisher whose sender, who has this address, had an attempt left. To be asked for before the body is read.
pub(crate) struct Attempt(pub(crate) IpAddr);

impl FromRequestParts<Web> for Attempt {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        let from = address(&parts.extensions, &parts.headers, web);
        web.publisher_logins.take(from, Instant::now())?;
        Ok(Self(from))
    }
}

pub(crate) struct Login {
    web: Web,
    from: IpAddr,
}

impl FromRequestParts<Web> for Login {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Self::Rejection> {
        Ok(Self { web: web.clone(), from: address(&parts.extensions, &parts.headers, web) })
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
        self.attempt(headers)?;
        let found =
            self.web.services.access.login(self.from, name.trim(), password, SESSION_LIFETIME).await?;
        self.admitted(found, "this name and password do not fit")
    }

    /// The secret of a session for a login link's, which has no other use then.
    pub(crate) async fn with_link(&self, headers: &HeaderMap, key: &str) -> Result<String, Problem> {
        self.attempt(headers)?;
        let found = self.web.services.access.login_with_link(self.from, key, SESSION_LIFETIME).await?;
        self.admitted(found, "this login link is not known here, was used before, or has expired")
    }

    fn attempt(&self, headers: &HeaderMap) -> Result<(), Problem> {
        // A foreign page must not log its visitor in as somebody else; programs send neither header.
        let from_a_page = headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
        if from_a_page && !self.web.cookies.same_origin(headers) {
            return Err(Problem::forbidden("this login came from another site"));
        }
        Ok(self.web.logins.take(self.from, Instant::now())?)
    }

    fn admitted(&self, session: Option<String>, else_why: &str) -> Result<String, Problem> {
        let session = session.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, else_why))?;
        self.web.logins.note_success(self.from, Instant::now());
        Ok(session)
    }
}
