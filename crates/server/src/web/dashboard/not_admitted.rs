//! Ids that were heard of and are not admitted, and what to do about each.

use api::NotAdmitted;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::document::PageError;
use super::visit::{Section, Visit};
use super::words;
use crate::devices::Devices;

pub(crate) async fn page(State(devices): State<Devices>, visit: Visit) -> Result<Response, PageError> {
    let content = view(&devices.not_admitted());
    Ok(visit.page("Not admitted", Section::Devices, content).await)
}

/// The way to the page, from where devices are listed.
pub(super) fn link(count: usize) -> Markup {
    html! {
        @if count > 0 { p.sub { a href="/not-admitted" { (words::counted(count as u64, "id")) " not admitted" } } }
    }
}

fn view(ids: &[NotAdmitted]) -> Markup {
    html! {
        a.back href="/" { "Devices" }
        div.head { div { h1 { "Not admitted" } p.sub { "What wanted to be a device since the server started, the newest first; at most 1,000 ids of the last week" } } }
        @if ids.is_empty() {
            div.empty.small { h2 { "Nothing was turned away" } p { "Every device that was heard of is known. " a href="/" { "Show them" } } }
        } @else {
            div.card.flush { table.audit {
                thead { tr { th { "Last" } th { "Id" } th { "How often" } th { "What is wrong, and what to do" } } }
                tbody { @for id in ids { (row(id)) } }
            } }
        }
    }
}

fn row(one: &NotAdmitted) -> Markup {
    html! {
        tr {
            td { (words::ago(one.last_at)) }
            td { code.act { @if one.id.is_empty() { "(empty)" } @else { (one.id) } } @if let Some(address) = one.address.as_ref().filter(|address| **address != one.id) { span.small { " " (address) } } }
            td { (words::grouped(one.count)) }
            td { (words::explained(&one.cause)) @if let Some(said) = &one.said { span.small { " It began with " (said) "." } } }
        }
    }
}
