//! How routes are added: each with the right that it asks, so that there is none without.

use axum::extract::Request;
use axum::handler::Handler;
use axum::http::{StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use utoipa::OpenApi;
use utoipa::openapi::security::SecurityRequirement;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::api::{Document, complete};
use super::caller::Right;
use super::dashboard;
use super::guard::guard;
use super::problem::Problem;
use super::state::Web;

pub(super) struct Routes {
    web: Web,
    api: OpenApiRouter<Web>,
    pages: Router<Web>,
}

impl Routes {
    pub(super) fn new(web: Web) -> Self {
        Self { web, api: OpenApiRouter::with_openapi(Document::openapi()), pages: Router::new() }
    }

    /// A path of the API, which is in its document.
    pub(super) fn api(
        mut self,
        right: Right,
        (schemas, mut paths, methods): UtoipaMethodRouter<Web>,
    ) -> Self {
        let operations = paths.paths.values_mut().flat_map(|item| {
            [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete]
        });
        for operation in operations.flatten().filter(|_| right == Right::Public) {
            operation.security = Some(vec![SecurityRequirement::default()]);
        }
        let methods = self.guarded(right, methods);
        self.api = self.api.routes((schemas, paths, methods));
        self
    }

    pub(super) fn page(mut self, right: Right, path: &str, methods: MethodRouter<Web>) -> Self {
        let methods = self.guarded(right, methods);
        self.pages = self.pages.route(path, methods);
        self
    }

    fn guarded(&self, right: Right, methods: MethodRouter<Web>) -> MethodRouter<Web> {
        let methods = methods.route_layer(from_fn_with_state((self.web.clone(), right), guard));
        // A public path answers every other method without credentials, too.
        if right == Right::Public { methods.fallback(method_not_allowed) } else { methods }
    }

    /// All of them, with the API's document and what is answered on every other path.
    pub(super) fn finish(self) -> Router<Web> {
        let (api, mut document) = self.api.split_for_parts();
        complete(&mut document);
        let document = get(async move || Json(document.clone()));
        let guard = from_fn_with_state((self.web, Right::Read), guard);
        api.merge(self.pages)
            .route("/api/openapi.json", document.fallback(method_not_allowed))
            .fallback(not_found.layer(guard.clone()))
            .method_not_allowed_fallback(method_not_allowed.layer(guard))
            .layer(map_response(dashboard::without_hidden))
    }
}

pub(super) async fn not_found(request: Request) -> Response {
    if is_page(&request) {
        return dashboard::error_page(StatusCode::NOT_FOUND, "There is no such page.");
    }
    Problem::nothing_here().into_response()
}

pub(super) async fn method_not_allowed(request: Request) -> Response {
    if is_page(&request) {
        return dashboard::error_page(
            StatusCode::METHOD_NOT_ALLOWED,
            "This page does not take that kind of request.",
        );
    }
    let detail = format!("this path does not take {}; the header Allow says what it takes", request.method());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail).into_response()
}

fn is_page(request: &Request) -> bool {
    !request.uri().path().starts_with("/api/")
        && request
            .headers()
            .get(header::ACCEPT)
            .is_some_and(|a| a.to_str().is_ok_and(|a| a.contains("text/html")))
}
