//! Every path the server answers on: a table of contents.

use axum::Router;
use axum::middleware::{from_fn, map_request};
use axum::routing::{get, post};
use utoipa_axum::routes;

use super::api::{devices, events, firmware, health, login, releases, updates};
use super::dashboard;
use super::headers::security_headers;
use super::limits::log_and_bound;
use super::prefix::{own_prefix, without_prefix};
use super::right::Right::{Operate, Promote, Public, Publish, Read, ReadProduct, Release};
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
        .api(Read, routes!(devices::show))
        .api(Operate, routes!(devices::change, devices::remove))
        .api(Operate, routes!(updates::check))
        .api(Operate, routes!(updates::clear_quarantine))
        .api(Read, routes!(updates::list))
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
        .api(Read, routes!(events::stream))
}

/// The pages with the forms in them, and what is no page and not in the document either.
fn pages(routes: Routes) -> Routes {
    use dashboard::{
        assets, check_all, device, device_forms, devices, login, register, release_forms, releases,
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
        .page(Operate, "/devices/{id}/check", post(device_forms::check))
        .page(Operate, "/devices/{id}/clear-quarantine", post(device_forms::clear_quarantine))
        .page(Operate, "/devices/{id}/remove", post(device_forms::remove))
        .page(Operate, "/updates/{id}/cancel", post(device_forms::cancel))
        .page(Read, "/releases", get(releases::first))
        .page(Read, "/releases/{product}", get(releases::page))
        .page(Release, "/releases/{product}/promote", post(release_forms::promote))
        .page(Release, "/releases/{product}/refresh", post(release_forms::refresh))
        .page(Operate, "/releases/{product}/block", post(release_forms::block))
        .page(Operate, "/releases/{product}/unblock", post(release_forms::unblock))
}
