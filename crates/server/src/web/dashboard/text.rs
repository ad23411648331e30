//! What devices, buckets and people wrote, in HTML: maud escapes its marks, and here goes what no browser is to see of the rest.

use api::is_hidden;
use axum::body::{Body, to_bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

fn is_unwanted(c: char) -> bool {
    is_hidden(c) && !matches!(c, '\n' | '\t')
}

/// Replaces control characters, and those that turn the order of text, in every page and every part of one.
pub(crate) async fn without_hidden(response: Response) -> Response {
    let kind = response.headers().get(header::CONTENT_TYPE);
    if !kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html")) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // A page is whole in memory already.
    let page = to_bytes(body, usize::MAX).await.ok().and_then(|bytes| String::from_utf8(bytes.into()).ok());
    let Some(page) = page else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    if !page.contains(is_unwanted) {
        return Response::from_parts(parts, Body::from(page));
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(page.replace(is_unwanted, "\u{FFFD}")))
}
