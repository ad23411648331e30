//! The OpenAPI document without its paths, which the router adds, and what every operation of a kind may answer besides what
//! its handler says: by rule, so that no route is without it because somebody forgot.

use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{self, Content, Ref, RefOr, Response};
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
    fn modify(&self, document: &mut openapi::OpenApi) {
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

/// How RFC 9457 has its documents named.
const PROBLEM: &str = "application/problem+json";

pub(crate) fn complete(document: &mut openapi::OpenApi) {
    for (path, item) in &mut document.paths.paths {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            for status in statuses(path, operation) {
                let problem = || RefOr::T(Response::new(""));
                operation.responses.responses.entry(status.to_owned()).or_insert_with(problem);
            }
            for (status, response) in &mut operation.responses.responses {
                if let RefOr::T(response) = response {
                    describe(status, response);
                }
            }
        }
    }
}

fn statuses(path: &str, operation: &Operation) -> Vec<&'static str> {
    // It says that the process lives, and can say nothing else.
    if path == "/healthz" {
        return Vec::new();
    }
    // Every request has a limit of its time, and everything asks the database.
    let mut statuses = vec!["500", "503"];
    if operation.security.is_none() {
        statuses.extend(["401", "403"]);
    }
    if operation.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty()) {
        statuses.push("400");
    }
    if let Some(RefOr::T(body)) = &operation.request_body {
        statuses.extend(["400", "408", "413"]);
        statuses.extend(body.content.contains_key("application/json").then_some("415"));
    }
    statuses
}

fn describe(status: &str, response: &mut Response) {
    if response.description.is_empty() {
        description(status).clone_into(&mut response.description);
    }
    if !status.starts_with(['4', '5']) {
        return;
    }
    let said = response.content.shift_remove("application/json");
    let problem = || RefOr::T(Content::new(Some(Ref::from_schema_name("Problem"))));
    response.content.entry(PROBLEM.to_owned()).or_insert_with(|| said.unwrap_or_else(problem));
}

fn description(status: &str) -> &'static str {
    match status {
        "200" => "Done",
        "201" => "Made",
        "204" => "Done; there is nothing to tell",
        "400" => "What was asked is malformed",
        "401" => "No credentials, or unknown ones",
        "403" => "Not allowed to this caller",
        "404" => "There is no such thing",
        "408" => "The body came too slowly",
        "409" => "Refused, and nothing was changed",
        "413" => "The body is too large",
        "415" => "The body is not JSON",
        "429" => "Tried too often; `Retry-After` says when to try again",
        "503" => {
            "Store, issuer or database did not answer in time: with `Retry-After`, ask again; without, it may go on"
        }
        _ => "The server failed; its log says why",
    }
}
