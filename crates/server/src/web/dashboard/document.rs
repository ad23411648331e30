//! A whole document, parts of pages, and the page that says what went wrong.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::words::sentence;
use super::{assets, icon};
use crate::error::Error;
use crate::web::problem::Problem;

pub(crate) fn document(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Updraft" }
                link rel="icon" type="image/svg+xml" href=(assets::ICON.path);
                link rel="stylesheet" href=(assets::STYLE.path);
                // In the head and not deferred: the theme is set before anything is drawn.
                script src=(assets::SCRIPT.path) {}
            }
            body { (body) }
        }
    }
}

pub(crate) struct PageError(Problem);

impl From<Error> for PageError {
    fn from(error: Error) -> Self {
        Self(error.into())
    }
}

impl From<Problem> for PageError {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        error_page(self.0.status, &sentence(&self.0.detail))
    }
}

/// A filter that cannot be read is the visitor's slip, not a page that does not exist.
impl From<axum::extract::rejection::QueryRejection> for PageError {
    fn from(_: axum::extract::rejection::QueryRejection) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, "this address is malformed").into()
    }
}

/// A page that says what went wrong, and the way back.
pub(crate) fn error_page(status: StatusCode, text: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = html! {
        main.alone {
            div.card.plain {
                (icon::logo())
                p.eyebrow { (status.as_u16()) }
                h1 { (title) }
                p.lead { (text) }
                a.button href="/" { "Back to the devices" }
            }
        }
    };
    (status, document(title, &body)).into_response()
}

/// Nothing here yet, and what to do about it.
pub(crate) fn empty(icon: &Markup, title: &str, text: &str, command: Option<&str>) -> Markup {
    html! {
        div.empty {
            span.badge { (icon) }
            h2 { (title) }
            p { (text) }
            @if let Some(command) = command { (copyable(command)) }
        }
    }
}

/// Text with a button that copies it.
pub(crate) fn copyable(text: &str) -> Markup {
    html! {
        div.copyable {
            code { (text) }
            button.ghost.icon type="button" data-copy=(text) aria-label="Copy" title="Copy" { (icon::copy()) }
        }
    }
}

/// The health of store and broker, in one word.
pub(super) fn health_link(problems: &[String]) -> Markup {
    html! {
        a #health class={ "health " (if problems.is_empty() { "good" } else { "bad" }) } href="/readyz" {
            span.dot {}
            @if problems.is_empty() { "All systems work" } @else { (problems.len()) " not working" }
        }
    }
}
