//! The session's cookie, and whether a request comes from a page of ours.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use url::Url;

/// How long a browser stays logged in.
pub(crate) const SESSION_LIFETIME: Duration = Duration::from_hours(7 * 24);

#[derive(Clone)]
pub(crate) struct Cookies {
    public_url: Arc<Url>,
}

impl Cookies {
    pub(super) fn new(public_url: &Url) -> Self {
        Self { public_url: Arc::new(public_url.clone()) }
    }

    /// `__Host-` binds the cookie to this host and to https; plain http cannot have it.
    pub(crate) fn name(&self) -> &'static str {
        if self.is_secure() { "__Host-updraft" } else { "updraft" }
    }

    fn is_secure(&self) -> bool {
        self.public_url.scheme() == "https"
    }

    /// The host by which browsers and devices reach this server.
    pub(crate) fn host(&self) -> Option<&str> {
        self.public_url.host_str()
    }

    pub(crate) fn session(&self, secret: &str) -> HeaderValue {
        self.set(self.name(), secret, SESSION_LIFETIME)
    }

    pub(crate) fn no_session(&self) -> HeaderValue {
        self.set(self.name(), "", Duration::ZERO)
    }

    /// `Set-Cookie` for a value of cookie letters; anything else clears it.
    pub(crate) fn set(&self, name: &str, value: &str, lifetime: Duration) -> HeaderValue {
        let secure = if self.is_secure() { "; Secure" } else { "" };
        let age = lifetime.as_secs();
        HeaderValue::from_str(&format!(
            "{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}{secure}"
        ))
        .unwrap_or(HeaderValue::from_static("updraft=; Path=/; Max-Age=0"))
    }

    /// Whether a browser says that the request comes from a page of ours. Silence means no: every browser that
    /// sends our cookie with an unsafe method sends one of the two headers.
    pub(crate) fn same_origin(&self, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        if let Some(site) = text(header::HeaderName::from_static("sec-fetch-site")) {
            return site == "same-origin";
        }
        let Some(origin) = text(header::ORIGIN).and_then(|origin| Url::parse(origin).ok()) else {
            return false;
        };
        if origin.origin() == self.public_url.origin() {
            return true;
        }
        let authority = origin.as_str().split_once("://").map_or("", |(_, rest)| rest.trim_end_matches('/'));
        text(header::HOST).is_some_and(|host| host.eq_ignore_ascii_case(authority))
    }
}

pub(crate) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            (key.trim() == name && !value.trim().is_empty()).then(|| value.trim().to_owned())
        })
}
