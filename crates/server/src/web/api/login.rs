//! `/api/v1/login` and `/api/v1/logout`.

use api::{Login, OidcLogin, PublisherToken, Session};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use oidc::Scope;

use crate::access::{Access, Admission, Publishers};
use crate::web::caller::Caller;
use crate::web::cookies::{Cookies, SESSION_LIFETIME};
use crate::web::extract::Body;
use crate::web::login::{Attempt, Login as Entrance};
use crate::web::problem::{Answer, Problem};

/// Trades name and password for a session, as a token and as a cookie.
#[utoipa::path(post, path = "/api/v1/login", tag = "login", request_body = Login, responses(
    (status = 200, body = Session), (status = 400, body = api::Problem), (status = 401, body = api::Problem),
    (status = 429, body = api::Problem)))]
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

/// Trades a CI system's OIDC token, once, for a short-lived token that may publish one product.
#[utoipa::path(post, path = "/api/v1/login/oidc", tag = "login", request_body = OidcLogin, responses(
    (status = 200, body = PublisherToken), (status = 400, body = api::Problem), (status = 401, body = api::Problem),
    (status = 403, body = api::Problem), (status = 429, body = api::Problem), (status = 503, body = api::Problem)))]
pub(crate) async fn oidc(
    State(publishers): State<Publishers>,
    Attempt(from): Attempt,
    Body(login): Body<OidcLogin>,
) -> Answer<PublisherToken> {
    let Admission { token, expires_at, scope } =
        publishers.admit(from, login.token.trim(), login.product.as_ref()).await?;
    let Scope { product, may_promote, allow } = scope;
    Ok(Json(PublisherToken { token, expires_at, product, may_promote, allow }))
}

/// Ends the session (or does nothing for a token, which is revoked by `updraft token revoke`).
#[utoipa::path(post, path = "/api/v1/logout", tag = "login", responses((status = 204), (status = 401, body = api::Problem)))]
pub(crate) async fn logout(
    State(access): State<Access>,
    State(cookies): State<Cookies>,
    caller: Caller,
) -> Result<Response, Problem> {
    access.logout(caller.by(), &caller.secret).await?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookies.no_session())]).into_response())
}
