//! `/api/v1/login` and `/api/v1/logout`.

use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use oidc::Scope;

use super::extract::Body;
use super::problem::Problem;
use crate::app::Admission;
use crate::model::{Login, OidcLogin, PublisherToken, Session};
use crate::router::Web;
use crate::session::knocks::Knock;
use crate::session::source::Source;
use crate::session::{Caller, SESSION_LIFETIME};

/// Trades name and password for a session, as a token and as a cookie.
#[utoipa::path(post, path = "/api/v1/login", tag = "login", request_body = Login, security(()), responses(
    (status = 200, body = Session), (status = 400, body = api::Problem), (status = 401, body = api::Problem),
    (status = 429, body = api::Problem)))]
pub(crate) async fn login(
    State(web): State<Web>,
    source: Source,
    headers: HeaderMap,
    Body(login): Body<Login>,
) -> Result<Response, Problem> {
    let secret = enter(&web, source, &headers, &login.name, &login.password).await?;
    let cookie = web.session_cookie(&secret);
    let session = Session { token: secret, expires_in_s: SESSION_LIFETIME.as_secs() };
    Ok(([(header::SET_COOKIE, cookie)], Json(session)).into_response())
}

/// The one way in by password, for the API and for the page.
pub(crate) async fn enter(
    web: &Web,
    source: Source,
    headers: &HeaderMap,
    name: &str,
    password: &str,
) -> Result<String, Problem> {
    // A foreign page must not log its visitor in as somebody else; programs send neither header.
    let from_a_page = headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
    if from_a_page && !web.same_origin(headers) {
        return Err(Problem::forbidden("this login came from another site"));
    }
    web.logins.take(source, Instant::now())?;
    let found = web.app.login(name.trim(), password, SESSION_LIFETIME).await?;
    found.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "this name and password do not fit"))
}

/// Trades a CI system's OIDC token, once, for a short-lived token that may publish one product.
#[utoipa::path(post, path = "/api/v1/login/oidc", tag = "login", request_body = OidcLogin, security(()), responses(
    (status = 200, body = PublisherToken), (status = 400, body = api::Problem), (status = 401, body = api::Problem),
    (status = 403, body = api::Problem), (status = 429, body = api::Problem), (status = 503, body = api::Problem)))]
pub(crate) async fn oidc(
    State(web): State<Web>,
    _: Knock,
    Body(login): Body<OidcLogin>,
) -> Result<Json<PublisherToken>, Problem> {
    let Admission { token, expires_at, scope } =
        web.app.admit(login.token.trim(), login.product.as_ref()).await?;
    let Scope { product, may_promote, allow } = scope;
    Ok(Json(PublisherToken { token, expires_at, product, may_promote, allow }))
}

/// Ends the session (or does nothing for a token, which is revoked by `updraft token revoke`).
#[utoipa::path(post, path = "/api/v1/logout", tag = "login", responses((status = 204), (status = 401, body = api::Problem)))]
pub(crate) async fn logout(
    State(web): State<Web>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    web.app.logout(&caller.secret).await?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, web.no_session_cookie())]).into_response())
}
