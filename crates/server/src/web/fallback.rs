//! Paths that there are not, and methods that a path does not take.

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::dashboard;
use super::problem::Problem;

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

/// Whether a person sees the answer.
fn is_page(request: &Request) -> bool {
    !request.uri().path().starts_with("/api/")
        && request
            .headers()
            .get(header::ACCEPT)
            .is_some_and(|a| a.to_str().is_ok_and(|a| a.contains("text/html")))
}
