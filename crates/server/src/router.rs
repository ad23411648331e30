//! Every path the server answers on: a table of contents.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state, map_request};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::problem::Problem;
use crate::api::{self, devices, events, firmware, health, login, releases, upload::UPLOAD_PATIENCE};
use crate::app::{App, WRITE_PATIENCE};
use crate::dashboard;
use crate::session::{
    self,
    knocks::{Knocks, LoginRate},
};

pub use ::api::{FILE_NAME_MAX_BYTES, IMAGE_MAX_BYTES};

/// The largest of all other bodies.
const BODY_MAX_BYTES: usize = 64 * 1024;
/// How long any other request may take until its answer begins.
const ANSWER_PATIENCE: Duration = Duration::from_mins(1);
// Who waits for the store is told that it goes on, in words of their own.
const _: () = assert!(ANSWER_PATIENCE.as_secs() > WRITE_PATIENCE.as_secs() + 10);
/// Streams of events at a time.
const STREAMS_MAX: usize = 256;
/// Images held in memory at a time.
pub(crate) const UPLOADS_MAX: usize = 4;

/// What every handler works with.
#[derive(Clone)]
pub struct Web {
    pub(crate) app: App,
    pub(crate) logins: Arc<LoginRate>,
    pub(crate) knocks: Arc<Knocks>,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) shutdown: CancellationToken,
}

impl Web {
    pub(crate) fn new(app: App, shutdown: CancellationToken) -> Self {
        Self {
            app,
            logins: Arc::new(LoginRate::new()),
            knocks: Arc::new(Knocks::of_publishers()),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
            shutdown,
        }
    }
}

/// The whole server. Streams of events end when `shutdown` is cancelled, so that a graceful stop does not wait for them.
pub fn router(app: App, shutdown: CancellationToken) -> Router {
    let prefix = own_prefix(app.public_url().path()).map(str::to_owned);
    let web = Web::new(app, shutdown);
    let (api, mut document) = api_routes().split_for_parts();
    api::answers::complete(&mut document);
    let routes = api
        .merge(dashboard_routes())
        .route("/metrics", get(health::metrics))
        .route("/firmware/{*path}", get(firmware::signed))
        .route("/d/{token}", get(firmware::short))
        .route("/api/openapi.json", get(async move || api::document(document.clone())))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(web.clone(), session::guard))
        .layer(from_fn(security_headers))
        .layer(from_fn(log_and_bound))
        .with_state(web);
    let Some(prefix) = prefix else { return routes };
    // A request is routed by the router that has the layer, so the one that is to see the path without it lies within.
    let without = move |request| std::future::ready(without_prefix(request, &prefix));
    Router::new().fallback_service(routes).layer(map_request(without))
}

/// The path of a `public_url` that has one. Not if it could be mistaken for a path of ours, which a proxy in front has
/// then taken it off.
fn own_prefix(path: &str) -> Option<&str> {
    let prefix = path.trim_end_matches('/');
    let first = prefix.strip_prefix('/')?.split('/').next()?;
    let ours = [
        "api", "assets", "d", "devices", "firmware", "healthz", "login", "logout", "metrics", "readyz",
        "releases", "updates",
    ];
    (!ours.contains(&first)).then_some(prefix)
}

/// Takes the path of `public_url` off a request's, where no proxy in front has done it.
fn without_prefix(mut request: Request, prefix: &str) -> Request {
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

/// What stands in `/api/openapi.json`.
fn api_routes() -> OpenApiRouter<Web> {
    let open = OpenApiRouter::new()
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(login::login))
        .routes(routes!(login::oidc));
    let read = OpenApiRouter::new()
        .routes(routes!(devices::list))
        .routes(routes!(devices::show))
        .routes(routes!(devices::updates))
        .routes(routes!(releases::products))
        .routes(routes!(releases::list))
        .routes(routes!(releases::show))
        .routes(routes!(releases::channels))
        .routes(routes!(releases::blocked))
        .routes(routes!(events::stream))
        .routes(routes!(login::logout));
    let release = OpenApiRouter::new()
        .routes(routes!(releases::publish))
        .routes(routes!(releases::check))
        .layer(DefaultBodyLimit::max(IMAGE_MAX_BYTES))
        .routes(routes!(releases::promote))
        .routes(routes!(releases::refresh))
        .route_layer(from_fn(session::need_release));
    let operate = OpenApiRouter::new()
        .routes(routes!(devices::register))
        .routes(routes!(devices::change, devices::remove))
        .routes(routes!(devices::check_update))
        .routes(routes!(devices::clear_quarantine))
        .routes(routes!(devices::cancel))
        .routes(routes!(releases::block, releases::unblock))
        .route_layer(from_fn(session::need_operate));
    OpenApiRouter::with_openapi(api::Document::openapi())
        .merge(open)
        .merge(read)
        .merge(release)
        .merge(operate)
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
}

/// The pages, and the forms in them.
fn dashboard_routes() -> Router<Web> {
    use dashboard::{assets, device, devices, login, release_forms, releases};
    let pages = Router::new()
        .route("/", get(devices::page))
        .route("/devices/{id}", get(device::page))
        .route("/releases", get(releases::first))
        .route("/releases/{product}", get(releases::page))
        .route("/login", get(login::page).post(login::submit))
        .route("/logout", post(login::logout))
        .route("/favicon.ico", get(assets::favicon))
        .route("/assets/{name}", get(assets::asset));
    let release = Router::new()
        .route("/releases/{product}/promote", post(release_forms::promote))
        .route("/releases/{product}/refresh", post(release_forms::refresh))
        .route_layer(from_fn(session::need_release));
    let operate = Router::new()
        .route("/devices", post(devices::add))
        .route("/devices/check", post(devices::check_all))
        .route("/devices/{id}/check", post(device::check))
        .route("/devices/{id}/clear-quarantine", post(device::clear_quarantine))
        .route("/devices/{id}/remove", post(device::remove))
        .route("/updates/{id}/cancel", post(device::cancel))
        .route("/releases/{product}/block", post(release_forms::block))
        .route("/releases/{product}/unblock", post(release_forms::unblock))
        .route_layer(from_fn(session::need_operate));
    pages.merge(release).merge(operate).layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
}

async fn not_found(request: Request) -> Response {
    if is_page(&request) {
        return dashboard::error_page(StatusCode::NOT_FOUND, "There is no such page.");
    }
    Problem::new(
        StatusCode::NOT_FOUND,
        "there is nothing at this path; /api/openapi.json lists what there is",
    )
    .into_response()
}

async fn method_not_allowed(request: Request) -> Response {
    if is_page(&request) {
        return dashboard::error_page(
            StatusCode::METHOD_NOT_ALLOWED,
            "This page does not take that kind of request.",
        );
    }
    let detail = format!("this path does not take {}; the header Allow says what it takes", request.method());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail).into_response()
}

/// Whether a person sees the answer.
fn is_page(request: &Request) -> bool {
    !request.uri().path().starts_with("/api/")
        && request
            .headers()
            .get(header::ACCEPT)
            .is_some_and(|a| a.to_str().is_ok_and(|a| a.contains("text/html")))
}

/// No inline script, no foreign origin, no frame; nothing that names a device or a release is kept by a cache.
async fn security_headers(request: Request, next: Next) -> Response {
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

/// One line a request, by route and never by URL: paths and queries can carry secrets. Handlers are bounded in
/// time until their answer begins; what streams afterwards is bounded by its client.
async fn log_and_bound(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let route =
        request.extensions().get::<MatchedPath>().map_or("-".to_owned(), |path| path.as_str().to_owned());
    let response = match tokio::time::timeout(patience(&method, &route), next.run(request)).await {
        Ok(response) => response,
        Err(_) => too_long(&method).into_response(),
    };
    let status = response.status().as_u16();
    let elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::debug!(http.method = %method, http.route = route, http.status = status, elapsed_ms, "answered");
    response
}

/// How long a request may take until its answer begins.
fn patience(method: &Method, route: &str) -> Duration {
    let is_upload = method == Method::POST
        && matches!(route, "/api/v1/products/{p}/releases" | "/api/v1/products/{p}/releases/check");
    if is_upload { UPLOAD_PATIENCE } else { ANSWER_PATIENCE }
}

/// What was begun may go on: the store's work ends by itself.
fn too_long(method: &Method) -> Problem {
    if method.is_safe() {
        return Problem::later("this took too long and was given up; try again in a minute");
    }
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "this takes longer than anybody waits here, and it may still be done: look again in a minute before asking again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_upload_that_is_admitted_is_answered_in_time() {
        // 16 MiB at 32 KiB a second, after ten seconds of grace and two minutes of waiting for a turn.
        let slowest = Duration::from_secs(16 * 1024 / 32 + 10 + 120);
        for route in ["/api/v1/products/{p}/releases", "/api/v1/products/{p}/releases/check"] {
            let left = patience(&Method::POST, route).checked_sub(slowest).expect("enough");
            assert!(left >= Duration::from_mins(1), "and there is time to judge and write it: {left:?}");
        }
        assert_eq!(patience(&Method::GET, "/api/v1/products/{p}/releases"), ANSWER_PATIENCE);
    }

    #[test]
    fn what_took_too_long_is_not_said_to_have_failed() {
        let problem = too_long(&Method::PUT);
        assert!(problem.status == 503 && problem.detail.contains("may still be done: look again"));
    }

    #[test]
    fn only_what_changes_nothing_is_to_be_asked_again_after_it_took_too_long() {
        let is_to_come_again =
            |method| too_long(&method).into_response().headers().contains_key(header::RETRY_AFTER);
        assert!(is_to_come_again(Method::GET));
        for method in [Method::PUT, Method::POST, Method::DELETE] {
            assert!(!is_to_come_again(method.clone()), "{method}");
        }
    }
}
