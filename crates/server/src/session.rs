//! Who asks: bearer tokens, the dashboard's session cookie, and the guard that every request passes.
//!
//! The guard refuses by default. What answers without credentials is listed in [`PUBLIC`]; everything else
//! is decided here before a path, a query or a body is parsed.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use crate::api::problem::Problem;
use crate::app::{Actor, AppError, Role};
use crate::router::Web;

pub(crate) mod knocks;
mod scope;
pub(crate) mod source;

/// How long a browser stays logged in.
pub const SESSION_LIFETIME: Duration = Duration::from_hours(7 * 24);

/// Paths that answer without credentials; one that ends in `/` stands for all below it.
const PUBLIC: [&str; 10] = [
    "/healthz",
    "/readyz",
    "/api/openapi.json",
    "/api/v1/login",
    "/api/v1/login/oidc",
    "/login",
    "/favicon.ico",
    "/assets/",
    // These carry their own credentials in the URL.
    "/firmware/",
    "/d/",
];

/// The caller of a request that passed the guard.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Name and role.
    pub actor: Actor,
    /// The secret it came with, to end the session or to see whether it still holds.
    pub(crate) secret: String,
}

impl Caller {
    /// Whether this caller may do it.
    pub fn may(&self, right: Right) -> bool {
        match right {
            Right::Read => true,
            Right::Release => matches!(self.actor.role, Role::Admin | Role::Operator | Role::Ci),
            Right::Operate => matches!(self.actor.role, Role::Admin | Role::Operator),
        }
    }
}

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Look.
    Read,
    /// Publish and promote.
    Release,
    /// Change devices, updates and the blocked list.
    Operate,
}

/// Lets requests with credentials through, and those to [`PUBLIC`] paths.
pub async fn guard(State(web): State<Web>, mut request: Request, next: Next) -> Response {
    let found = match credentials(request.headers(), web.cookie_name()) {
        Some(credentials) => match web.app.authenticate(&credentials.secret).await {
            Ok(actor) => actor.map(|actor| (actor, credentials)),
            // A publisher may come back for another token with the one that has ended.
            Err(AppError::Unproven(_)) if is_public(request.uri().path()) => None,
            Err(error) => return Problem::from(error).into_response(),
        },
        None => None,
    };
    let path = request.uri().path();
    let Some((actor, credentials)) = found else {
        if is_public(path) {
            return next.run(request).await;
        }
        return refuse(&request);
    };
    let unsafe_method = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if credentials.by_cookie && unsafe_method && !web.same_origin(request.headers()) {
        return Problem::forbidden(
            "this request came from another site; the session cookie is not accepted for it",
        )
        .into_response();
    }
    let publisher = match &actor.scope {
        Some(scope) if !is_public(path) => match scope::permit(scope, &request) {
            Ok(()) => unsafe_method.then(|| actor.name.clone()),
            Err(why) => return Problem::forbidden(format!("{} {why}", actor.name)).into_response(),
        },
        _ => None,
    };
    request.extensions_mut().insert(Caller { actor, secret: credentials.secret });
    let Some(publisher) = publisher else { return next.run(request).await };
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    // Who published is asked later, and the run says it.
    tracing::info!(publisher.name = publisher, http.method = %method, http.path = path,
        http.status = response.status().as_u16(), "a trusted publisher acted");
    response
}

/// Route layers: callers without the right get 403.
pub async fn need_release(request: Request, next: Next) -> Response {
    need(Right::Release, request, next).await
}

/// Route layers: callers without the right get 403.
pub async fn need_operate(request: Request, next: Next) -> Response {
    need(Right::Operate, request, next).await
}

async fn need(right: Right, request: Request, next: Next) -> Response {
    match request.extensions().get::<Caller>() {
        Some(caller) if caller.may(right) => next.run(request).await,
        Some(caller) => {
            let role = match caller.actor.role {
                Role::Admin => "admin",
                Role::Operator => "operator",
                Role::Ci => "ci",
                Role::Viewer => "viewer",
            };
            let may = match right {
                Right::Read => "read",
                Right::Release => "publish or promote",
                Right::Operate => "change devices or the blocked list",
            };
            Problem::forbidden(format!("{} has the role {role}, which may not {may}", caller.actor.name))
                .into_response()
        }
        None => Problem::unauthorized().into_response(),
    }
}

/// Whether a path answers without credentials.
pub(crate) fn is_public(path: &str) -> bool {
    PUBLIC.iter().any(|public| if public.ends_with('/') { path.starts_with(public) } else { path == *public })
}

/// People are sent to the login page; programs get 401.
fn refuse(request: &Request) -> Response {
    let path = request.uri().path();
    let page = matches!(*request.method(), Method::GET | Method::HEAD)
        && !path.starts_with("/api/")
        && path != "/metrics"
        && !request.headers().contains_key(crate::dashboard::FRAGMENT);
    if !page {
        return Problem::unauthorized().into_response();
    }
    let wanted = request.uri().path_and_query().map_or("/", |p| p.as_str());
    if wanted == "/" {
        return Redirect::to("/login").into_response();
    }
    let next: String = url::form_urlencoded::byte_serialize(wanted.as_bytes()).collect();
    Redirect::to(&format!("/login?next={next}")).into_response()
}

struct Credentials {
    secret: String,
    by_cookie: bool,
}

/// A bearer token wins over a cookie, since only a program can send it on purpose.
fn credentials(headers: &HeaderMap, cookie_name: &str) -> Option<Credentials> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, secret) = value.to_str().ok()?.split_once(' ')?;
        let bearer = scheme.eq_ignore_ascii_case("bearer");
        return bearer.then(|| Credentials { secret: secret.trim().to_owned(), by_cookie: false });
    }
    let secret = cookie(headers, cookie_name)?;
    Some(Credentials { secret, by_cookie: true })
}

/// The cookie of this name, if the browser sent one.
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

impl Web {
    /// `__Host-` binds the cookie to this host and to https; plain http cannot have it.
    pub(crate) fn cookie_name(&self) -> &'static str {
        if self.is_secure() { "__Host-updraft" } else { "updraft" }
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.app.public_url().scheme() == "https"
    }

    /// `Set-Cookie` that begins a session.
    pub(crate) fn session_cookie(&self, secret: &str) -> HeaderValue {
        self.set_cookie(self.cookie_name(), secret, SESSION_LIFETIME)
    }

    /// `Set-Cookie` that ends the session.
    pub(crate) fn no_session_cookie(&self) -> HeaderValue {
        self.set_cookie(self.cookie_name(), "", Duration::ZERO)
    }

    /// `Set-Cookie` for a value of cookie letters; anything else clears it.
    pub(crate) fn set_cookie(&self, name: &str, value: &str, lifetime: Duration) -> HeaderValue {
        let secure = if self.is_secure() { "; Secure" } else { "" };
        let age = lifetime.as_secs();
        HeaderValue::from_str(&format!(
            "{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}{secure}"
        ))
        .unwrap_or(HeaderValue::from_static("updraft=; Path=/; Max-Age=0"))
    }

    /// Whether a browser says that the request comes from a page of ours. Silence is a no: every browser that
    /// sends our cookie with an unsafe method sends one of the two headers.
    pub(crate) fn same_origin(&self, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        if let Some(site) = text(header::HeaderName::from_static("sec-fetch-site")) {
            return site == "same-origin";
        }
        let Some(origin) = text(header::ORIGIN).and_then(|origin| url::Url::parse(origin).ok()) else {
            return false;
        };
        if origin.origin() == self.app.public_url().origin() {
            return true;
        }
        let authority = origin.as_str().split_once("://").map_or("", |(_, rest)| rest.trim_end_matches('/'));
        text(header::HOST).is_some_and(|host| host.eq_ignore_ascii_case(authority))
    }
}
