//! The JSON API: HTTP in, [`crate::app::App`] calls, JSON or a problem document out. It decides nothing itself.

use axum::Json;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

pub(crate) mod answers;
pub mod devices;
pub mod events;
pub(crate) mod extract;
pub mod firmware;
pub mod health;
pub mod login;
pub mod problem;
pub mod releases;
pub(crate) mod upload;

/// The OpenAPI document without its paths; the router adds those.
#[derive(OpenApi)]
#[openapi(
    info(title = "Updraft", description = "Over-the-air updates for ESP32 devices."),
    servers((url = "/")),
    modifiers(&Security),
    security(("bearer" = []), ("session" = [])),
)]
pub struct Document;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        let cookie = ApiKeyValue::with_description(
            "updraft",
            "`__Host-updraft` where the server is reached by https.",
        );
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

/// `GET /api/openapi.json`.
pub(crate) fn document(document: utoipa::openapi::OpenApi) -> Response {
    Json(document).into_response()
}
