//! Every path the server answers on: a table of contents.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn, map_request};
use axum::response::Response;
use axum::routing::{get, post};
use utoipa_axum::routes;

use super::api::{audit, devices, events, firmware, health, login, releases, rollouts, updates};
use super::caller::Right::{Administer, Operate, Promote, Public, Publish, Read, ReadProduct, Release};
use super::dashboard;
use super::limits::log_and_bound;
use super::routes::Routes;
use super::state::Web;

/// The whole server, below the path of its `public_url`.
pub(crate) fn router(web: Web, public_path: &str) -> Router {
    let routes = pages(paths(Routes::new(web.clone())))
        .finish()
        .layer(from_fn(security_headers))
        .layer(from_fn(log_and_bound))
        .with_state(web);
    let Some(prefix) = own_prefix(public_path).map(str::to_owned) else { return routes };
    // A request is routed by the router that has the layer, so the one that is to see the path without it lies within.
    let without = move |request| std::future::ready(without_prefix(request, &prefix));
    Router::new().fallback_service(routes).layer(map_request(without))
}

/// What is in `/api/openapi.json`.
fn paths(routes: Routes) -> Routes {
    routes
        .api(Public, routes!(health::healthz))
        .api(Public, routes!(health::readyz))
        .api(Public, routes!(login::login))
        .api(Public, routes!(login::oidc))
        .api(Read, routes!(login::logout))
        .api(Read, routes!(devices::list))
        .api(Operate, routes!(devices::register))
        .api(Read, routes!(devices::not_admitted))
        .api(Read, routes!(devices::show))
        .api(Operate, routes!(devices::change, devices::remove))
        .api(Operate, routes!(updates::check))
        .api(Operate, routes!(updates::clear_quarantine))
        .api(Read, routes!(updates::list))
        .api(Read, routes!(updates::events))
        .api(Operate, routes!(updates::cancel))
        .api(Read, routes!(releases::products))
        .api(ReadProduct, routes!(releases::list))
        .api(Publish, routes!(releases::publish))
        .api(Publish, routes!(releases::check))
        .api(ReadProduct, routes!(releases::show))
        .api(ReadProduct, routes!(releases::channels))
        .api(Promote, routes!(releases::promote))
        .api(ReadProduct, routes!(releases::blocked))
        .api(Operate, routes!(releases::block, releases::unblock))
        .api(Publish, routes!(releases::refresh))
        .api(ReadProduct, routes!(rollouts::of_product))
        .api(Operate, routes!(rollouts::start))
        .api(Read, routes!(rollouts::list))
        .api(Read, routes!(rollouts::show))
        .api(Read, routes!(rollouts::devices))
        .api(Operate, routes!(rollouts::pause))
        .api(Operate, routes!(rollouts::resume))
        .api(Operate, routes!(rollouts::abort))
        .api(Administer, routes!(audit::list))
        .api(Read, routes!(events::stream))
}

/// The pages with the forms in them, and what is no page and not in the document either.
fn pages(routes: Routes) -> Routes {
    use dashboard::{
        actions, assets, audit, check_all, device, devices, login, not_admitted, register, releases, rollout,
        rollouts,
    };
    routes
        .page(Public, "/firmware/{*path}", get(firmware::signed))
        .page(Public, "/d/{token}", get(firmware::short))
        .page(Read, "/metrics", get(health::metrics))
        .page(Public, "/favicon.ico", get(assets::favicon))
        .page(Public, "/assets/{name}", get(assets::asset))
        .page(Public, "/login", get(login::page).post(login::submit))
        .page(Read, "/logout", post(login::logout))
        .page(Read, "/", get(devices::page))
        .page(Operate, "/devices", post(register::add))
        .page(Operate, "/devices/check", post(check_all::check_all))
        .page(Read, "/devices/{id}", get(device::page))
        .page(Operate, "/devices/{id}/check", post(actions::check))
        .page(Operate, "/devices/{id}/change", post(actions::change))
        .page(Operate, "/devices/{id}/clear-quarantine", post(actions::clear_quarantine))
        .page(Operate, "/devices/{id}/remove", post(actions::remove))
        .page(Operate, "/updates/{id}/cancel", post(actions::cancel))
        .page(Read, "/not-admitted", get(not_admitted::page))
        .page(Administer, "/audit", get(audit::page))
        .page(Read, "/releases", get(releases::first))
        .page(Read, "/releases/{product}", get(releases::page))
        .page(Release, "/releases/{product}/promote", post(actions::promote))
        .page(Release, "/releases/{product}/refresh", post(actions::refresh))
        .page(Read, "/rollouts", get(rollouts::page))
        .page(Operate, "/releases/{product}/rollout", get(rollouts::form).post(rollouts::start))
        .page(Read, "/rollouts/{n}", get(rollout::page))
        .page(Operate, "/rollouts/{n}/pause", post(rollout::pause))
        .page(Operate, "/rollouts/{n}/resume", post(rollout::resume))
        .page(Operate, "/rollouts/{n}/abort", post(rollout::abort))
        .page(Operate, "/releases/{product}/block", post(actions::block))
        .page(Operate, "/releases/{product}/unblock", post(actions::unblock))
}

/// The path of a `public_url` that has one. Not if it could be mistaken for a path of ours, which a proxy in front has
/// then taken it off.
pub(super) fn own_prefix(path: &str) -> Option<&str> {
    let prefix = path.trim_end_matches('/');
    let first = prefix.strip_prefix('/')?.split('/').next()?;
    let ours = [
        "api",
        "assets",
        "audit",
        "d",
        "devices",
        "firmware",
        "healthz",
        "login",
        "logout",
        "metrics",
        "not-admitted",
        "readyz",
        "releases",
        "rollouts",
        "updates",
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

/// No inline script, no foreign origin, no frame; nothing that names a device or a release is kept by a cache.
pub(super) async fn security_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
