//! What a request says of who sends it.

use axum::http::{HeaderMap, header};

use super::cookies::cookie;

/// A secret, and how it came.
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
