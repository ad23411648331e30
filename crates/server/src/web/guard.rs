//! The guard that every request passes: it refuses by default. Who has no credentials is refused before a path, a query or a
//! body is parsed.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::caller::{Caller, Credentials, FRAGMENT, Right, credentials};
use super::own::purpose;
use super::problem::Problem;
use super::state::Web;
use crate::access::Actor;
use crate::error::Error;

/// Lets callers through who have the right that a route asks.
pub(super) async fn guard(
    State((web, right)): State<(Web, Right)>,
    mut request: Request,
    next: Next,
) -> Response {
    let (actor, credentials) = match who(&web, right, request.headers()).await {
        Ok(Some(found)) => found,
        Ok(None) if right == Right::Public => return next.run(request).await,
        Ok(None) => return refuse(&request),
        Err(problem) => return problem.into_response(),
    };
    let is_unsafe = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if credentials.by_cookie && is_unsafe && !web.cookies.same_origin(request.headers()) {
        return Problem::forbidden(
            "this request came from another site; the session cookie is not accepted for it",
        )
        .into_response();
    }
    if let Err(problem) = may(&actor, right) {
        return problem.into_response();
    }
    let is_noted = is_unsafe && right != Right::Public && actor.scope.is_some();
    let publisher = is_noted.then(|| actor.name.clone());
    request.extensions_mut().insert(Caller { actor, secret: credentials.secret, right });
    let Some(publisher) = publisher else { return next.run(request).await };
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    // Who published is asked later, and the run says it.
    tracing::info!(publisher.name = publisher, http.method = %method, http.path = path,
        http.status = response.status().as_u16(), "a trusted publisher acted");
    response
}

async fn who(web: &Web, right: Right, headers: &HeaderMap) -> Result<Option<(Actor, Credentials)>, Problem> {
    let Some(credentials) = credentials(headers, web.cookies.name()) else { return Ok(None) };
    match web.services.access.authenticate(&credentials.secret).await {
        Ok(actor) => Ok(actor.map(|actor| (actor, credentials))),
        // A publisher may come back for another token with the one that has ended.
        Err(Error::Unproven(_)) if right == Right::Public => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Refuses with a sentence that says what the caller may.
fn may(actor: &Actor, right: Right) -> Result<(), Problem> {
    if let Some(scope) = actor.scope.as_ref().filter(|_| !right.is_of_publishers()) {
        return Err(Problem::forbidden(format!("{} {}", actor.name, purpose(scope))));
    }
    if right.is_of(actor.role) {
        return Ok(());
    }
    let (role, words) = (actor.role.as_str(), right.as_words());
    Err(Problem::forbidden(format!("{} has the role {role}, which may not {words}", actor.name)))
}

/// People are sent to the login page; programs get 401.
fn refuse(request: &Request) -> Response {
    let path = request.uri().path();
    let page = matches!(*request.method(), Method::GET | Method::HEAD)
        && !path.starts_with("/api/")
        && path != "/metrics"
        && !request.headers().contains_key(FRAGMENT);
    if !page {
        return Problem::unauthorized().into_response();
    }
    let target = request.uri().path_and_query().map_or("/", |p| p.as_str());
    if target == "/" {
        return Redirect::to("/login").into_response();
    }
    let next: String = url::form_urlencoded::byte_serialize(target.as_bytes()).collect();
    Redirect::to(&format!("/login?next={next}")).into_response()
}
