//! The OpenAPI document without its paths; the router adds those.

use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

/// The OpenAPI document without its paths; the router adds those.
#[derive(OpenApi)]
#[openapi(
    info(title = "Updraft", description = "Over-the-air updates for ESP32 devices."),
    servers((url = "/")),
    modifiers(&Security),
    security(("bearer" = []), ("session" = [])),
)]
pub(crate) struct Document;

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
