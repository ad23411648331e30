//! A `public_url` with a path, where no proxy in front takes that path off.

use axum::extract::Request;

/// The path of a `public_url` that has one. Not if it could be mistaken for a path of ours, which a proxy in front has
/// then taken it off.
pub(super) fn own_prefix(path: &str) -> Option<&str> {
    let prefix = path.trim_end_matches('/');
    let first = prefix.strip_prefix('/')?.split('/').next()?;
    let ours = [
        "api", "assets", "d", "devices", "firmware", "healthz", "login", "logout", "metrics", "readyz",
        "releases", "updates",
    ];
    (!ours.contains(&first)).then_some(prefix)
}

/// Takes the path of `public_url` off a request's, where no proxy in front has done it.
pub(super) fn without_prefix(mut request: Request, prefix: &str) -> Request {
    let uri = request.uri();
    let Some(rest) = uri.path().strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    else {
        return request;
    };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    if let Ok(short) = format!("/{}{query}", rest.trim_start_matches('/')).parse() {
        *request.uri_mut() = short;
    }
    request
}
