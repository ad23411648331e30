//! The guard that every request passes: it refuses whatever is not `Public`. Who has no credentials is refused before a path, a query or a
//! body is parsed. Then the arguments of routes that a trusted publisher may use too: parsed, and refused if they are of
//! another product than its own, or ask for more than it is trusted with.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use contract::ProductName;
use oidc::Scope;
use serde::de::DeserializeOwned;
use store::Check;

use super::caller::{Caller, Credentials, FRAGMENT, Right, address, credentials};
use super::extract::{Path, Query};
use super::problem::Problem;
use super::state::Web;
use crate::access::Identity;
use crate::error::Error;

/// Lets callers through who have the right that a route asks.
pub(super) async fn guard(
    State((web, right)): State<(Web, Right)>,
    mut request: Request,
    next: Next,
) -> Response {
    let (mut identity, credentials) = match who(&web, right, request.headers()).await {
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
    if let Err(problem) = may(&identity, right) {
        return problem.into_response();
    }
    identity.actor.address = Some(address(request.extensions(), request.headers(), &web));
    request.extensions_mut().insert(Caller { identity, secret: credentials.secret, right });
    next.run(request).await
}

async fn who(
    web: &Web,
    right: Right,
    headers: &HeaderMap,
) -> Result<Option<(Identity, Credentials)>, Problem> {
    let Some(credentials) = credentials(headers, web.cookies.name()) else { return Ok(None) };
    match web.services.access.authenticate(&credentials.secret).await {
        Ok(identity) => Ok(identity.map(|identity| (identity, credentials))),
        // A publisher may come back for another token with the one that has ended.
        Err(Error::Unproven(_)) if right == Right::Public => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Refuses with a sentence that says what the caller may.
fn may(identity: &Identity, right: Right) -> Result<(), Problem> {
    if let Some(scope) = identity.scope.as_ref().filter(|_| !right.is_of_publishers()) {
        return Err(Problem::forbidden(format!("{} {}", identity.actor.name, purpose(scope))));
    }
    if right.is_of(identity.role) {
        return Ok(());
    }
    let (role, words) = (identity.role.as_str(), right.as_words());
    Err(Problem::forbidden(format!("{} has the role {role}, which may not {words}", identity.actor.name)))
}

/// People are sent to the login page; programs get 401.
fn refuse(request: &Request) -> Response {
    let path = request.uri().path();
    // Nothing is there, and a device that follows redirects must not get a page in place of its image.
    if ["/assets/", "/d/", "/firmware/"].iter().any(|below| path.starts_with(below)) {
        return Problem::nothing_here().into_response();
    }
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

/// Path parameters about one product.
pub(crate) trait OfProduct {
    fn product(&self) -> &ProductName;
}

impl OfProduct for ProductName {
    fn product(&self) -> &ProductName {
        self
    }
}

impl<T> OfProduct for (ProductName, T) {
    fn product(&self) -> &ProductName {
        &self.0
    }
}

/// Path parameters, of the caller's own product if it is confined to one.
pub(crate) struct Own<T>(pub(crate) T);

impl<T: OfProduct + DeserializeOwned + Send> FromRequestParts<Web> for Own<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        let Path(arguments) = Path::<T>::from_request_parts(parts, web).await?;
        let caller = Caller::from_request_parts(parts, web).await?;
        let Some(scope) = &caller.identity.scope else { return Ok(Self(arguments)) };
        let name = scope.product.as_str();
        // As it was sent, too: a product's name has no letter that needs an escape.
        let is_spelled = parts.uri.path().split('/').any(|segment| segment == name);
        if *arguments.product() != scope.product || !is_spelled {
            return Err(refused(&caller, &purpose(scope)));
        }
        if caller.right == Right::Promote && !scope.may_promote {
            return Err(refused(&caller, &not_to_promote(scope)));
        }
        Ok(Self(arguments))
    }
}

/// Query parameters of a publication.
pub(crate) trait Publishing {
    fn promotes(&self) -> bool {
        false
    }
}

/// Query parameters, which ask for nothing that the caller is not trusted with.
pub(crate) struct Permitted<Q>(pub(crate) Q);

impl<Q: Publishing + DeserializeOwned + Send> FromRequestParts<Web> for Permitted<Q> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        let arguments = Query::<Q>::from_request_parts(parts, web).await;
        let caller = Caller::from_request_parts(parts, web).await?;
        let Some(scope) = &caller.identity.scope else { return arguments.map(|Query(found)| Self(found)) };
        if arguments.as_ref().is_ok_and(|Query(found)| found.promotes()) && !scope.may_promote {
            return Err(refused(&caller, &not_to_promote(scope)));
        }
        // Said first, also where the query repeats a key and cannot be read for it.
        if let Some(check) = overruled(parts.uri.query().unwrap_or_default())
            .find(|check| !scope.allow.iter().any(|may| may == check.name()))
        {
            let why = format!(
                "is trusted to publish {}, and not to overrule {check}: its [[trusted_publisher]] does not list it in allow",
                scope.product
            );
            return Err(refused(&caller, &why));
        }
        arguments.map(|Query(found)| Self(found))
    }
}

/// The checks that a query overrules. What is no such check is passed over: the route refuses it with its own sentence.
fn overruled(query: &str) -> impl Iterator<Item = Check> {
    let values = url::form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == "allow");
    values.flat_map(|(_, names)| {
        names.split(',').filter_map(|name| name.trim().parse().ok()).collect::<Vec<_>>()
    })
}

fn refused(caller: &Caller, why: &str) -> Problem {
    Problem::forbidden(format!("{} {why}", caller.by().name))
}

fn not_to_promote(scope: &Scope) -> String {
    format!(
        "is trusted to publish {}, and not to promote it: its [[trusted_publisher]] does not say may_promote = true",
        scope.product
    )
}

/// What a token that is confined to one product is for, to follow its name in a sentence.
pub(super) fn purpose(scope: &Scope) -> String {
    let product = &scope.product;
    let may = if scope.may_promote { "publish and promote" } else { "publish" };
    format!(
        "is a trusted publisher: it may {may} releases of {product}, have {product} read again from the store, and read \
         {product}'s releases, channels and blocked list, and nothing else"
    )
}
