//! `/api/v1/login` and `/api/v1/logout`.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use contract::ProductName;
use oidc::Scope;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::{Access, Admission, Publishers};
use crate::web::caller::Caller;
use crate::web::cookies::{Cookies, SESSION_LIFETIME};
use crate::web::extract::Body;
use crate::web::login::Login as Entrance;
use crate::web::problem::Problem;
use crate::web::source::Attempt;

/// Name and password, or any name and an API token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// User name.
    name: String,
    /// Password or token.
    password: String,
}

/// A session.
#[derive(Serialize, ToSchema)]
pub(crate) struct Session {
    /// Use it as a bearer token.
    token: String,
    /// Until then, in seconds from now.
    expires_in_s: u64,
}

/// Trades name and password for a session, as a token and as a cookie.
#[utoipa::path(post, path = "/api/v1/login", tag = "login", request_body = Login, responses(
    (status = 200, body = Session), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 429, body = Problem)))]
pub(crate) async fn login(
    entrance: Entrance,
    State(cookies): State<Cookies>,
    headers: HeaderMap,
    Body(login): Body<Login>,
) -> Result<Response, Problem> {
    let secret = entrance.with_password(&headers, &login.name, &login.password).await?;
    let cookie = cookies.session(&secret);
    let session = Session { token: secret, expires_in_s: SESSION_LIFETIME.as_secs() };
    Ok(([(header::SET_COOKIE, cookie)], Json(session)).into_response())
}

/// A statement that a CI system signed about one of its jobs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OidcLogin {
    /// The OIDC token: a JWT for the audience `http.public_url`, without a slash at its end.
    token: String,
    /// Needed only where the publisher is trusted with several products.
    #[schema(value_type = Option<String>)]
    product: Option<ProductName>,
}

/// A trusted publisher's token.
#[derive(Serialize, ToSchema)]
pub(crate) struct PublisherToken {
    /// Use it as a bearer token.
    token: String,
    /// Until then.
    expires_at: DateTime<Utc>,
    /// For this product only.
    #[schema(value_type = String)]
    product: ProductName,
    /// Whether it may point channels.
    may_promote: bool,
    /// The checks of the gate that it may overrule.
    allow: Vec<String>,
}

/// Trades a CI system's OIDC token, once, for a short-lived token that may publish one product.
#[utoipa::path(post, path = "/api/v1/login/oidc", tag = "login", request_body = OidcLogin, responses(
    (status = 200, body = PublisherToken), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn oidc(
    State(publishers): State<Publishers>,
    _: Attempt,
    Body(login): Body<OidcLogin>,
) -> Result<Json<PublisherToken>, Problem> {
    let Admission { token, expires_at, scope } =
        publishers.admit(login.token.trim(), login.product.as_ref()).await?;
    let Scope { product, may_promote, allow } = scope;
    Ok(Json(PublisherToken { token, expires_at, product, may_promote, allow }))
}

/// Ends the session (or does nothing for a token, which is revoked by `updraft token revoke`).
#[utoipa::path(post, path = "/api/v1/logout", tag = "login", responses((status = 204), (status = 401, body = Problem)))]
pub(crate) async fn logout(
    State(access): State<Access>,
    State(cookies): State<Cookies>,
    caller: Caller,
) -> Result<Response, Problem> {
    access.logout(&caller.secret).await?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookies.no_session())]).into_response())
}
