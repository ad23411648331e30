//! Parts of pages.

use maud::{Markup, html};

use super::icon;

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
pub(super) fn health(problems: &[String]) -> Markup {
    html! {
        a #health class={ "health " (if problems.is_empty() { "good" } else { "bad" }) } href="/readyz" {
            span.dot {}
            @if problems.is_empty() { "All systems work" } @else { (problems.len()) " not working" }
        }
    }
}
