//! What a token that is confined to one product opens: this list, and nothing that is not on it. A new route is
//! closed to it until somebody writes it here.

use axum::extract::{MatchedPath, Request};
use oidc::Scope;
use store::Check;

/// What a route on the list asks of the scope besides its product.
enum Asks {
    Product,
    Promotion,
}

/// Whether the request is on the list. On refusal: what the token is for, to follow its name in a sentence.
pub(super) fn permit(scope: &Scope, request: &Request) -> Result<(), String> {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let uri = request.uri();
    let product = &scope.product;
    let is_own = uri.path().strip_prefix("/api/v1/products/").and_then(|rest| rest.split('/').next());
    let Some(asks) = asks(request.method().as_str(), route, uri.query().unwrap_or_default()) else {
        return Err(purpose(scope));
    };
    // Compared as it was sent: a product's name has no letter that needs an escape.
    if is_own != Some(product.as_str()) {
        return Err(purpose(scope));
    }
    if matches!(asks, Asks::Promotion) && !scope.may_promote {
        return Err(format!(
            "is trusted to publish {product}, and not to promote it: its [[trusted_publisher]] does not say may_promote = true"
        ));
    }
    match overruled(uri.query().unwrap_or_default())
        .find(|check| !scope.allow.iter().any(|may| may == check.name()))
    {
        Some(check) => Err(format!(
            "is trusted to publish {product}, and not to overrule {check}: its [[trusted_publisher]] does not list it in allow"
        )),
        None => Ok(()),
    }
}

/// The checks that a query overrules. What is no such check is passed over: the route refuses it with its own sentence.
fn overruled(query: &str) -> impl Iterator<Item = Check> {
    let values = url::form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == "allow");
    values.flat_map(|(_, names)| {
        names.split(',').filter_map(|name| name.trim().parse().ok()).collect::<Vec<_>>()
    })
}

fn asks(method: &str, route: &str, query: &str) -> Option<Asks> {
    match (method, route) {
        (
            "GET" | "HEAD",
            "/api/v1/products/{p}/releases"
            | "/api/v1/products/{p}/releases/{version}"
            | "/api/v1/products/{p}/channels"
            | "/api/v1/products/{p}/blocked"
            | "/api/v1/products/{p}/rollouts",
        )
        | ("POST", "/api/v1/products/{p}/releases/check" | "/api/v1/products/{p}/refresh") => {
            Some(Asks::Product)
        }
        ("POST", "/api/v1/products/{p}/releases") => {
            let promotes = url::form_urlencoded::parse(query.as_bytes()).any(|(key, _)| key == "promote");
            Some(if promotes { Asks::Promotion } else { Asks::Product })
        }
        ("PUT", "/api/v1/products/{p}/channels/{c}") => Some(Asks::Promotion),
        _ => None,
    }
}

fn purpose(scope: &Scope) -> String {
    let product = &scope.product;
    let may = if scope.may_promote { "publish and promote" } else { "publish" };
    format!(
        "is a trusted publisher: it may {may} releases of {product}, have {product} read again from the store, and read \
         {product}'s releases, channels and blocked list, and nothing else"
    )
}
