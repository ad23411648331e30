//! Who did what.

use api::{AuditEntry, AuditQuery, Page};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};
use serde_json::Value;

use super::document::PageError;
use super::visit::{Section, Visit};
use super::{icon, words};
use crate::access::Access;

const ROWS: u32 = 50;

pub(crate) async fn page(
    State(access): State<Access>,
    visit: Visit,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Result<Response, PageError> {
    let Query(query) = query?;
    let query = AuditQuery { after: None, limit: Some(ROWS), ..query };
    let entries = access.audit(&query).await?;
    Ok(visit.page("Audit", Section::Audit, view(&query, &entries)).await)
}

/// This page's address, from below an entry.
fn href(query: &AuditQuery, before: &str) -> String {
    let mut address = url::form_urlencoded::Serializer::new("/audit?".to_owned());
    for (key, value) in [("actor", &query.actor), ("action", &query.action), ("subject", &query.subject)] {
        address.extend_pairs(value.as_ref().filter(|value| !value.is_empty()).map(|value| (key, value)));
    }
    address.append_pair("before", before).finish()
}

fn view(query: &AuditQuery, entries: &Page<AuditEntry>) -> Markup {
    html! {
        div.head { div { h1 { "Audit" } p.sub { "Who did what, the newest first" } } }
        form.filters method="get" action="/audit" role="search" data-auto {
            @for (name, label, value) in [
                ("actor", "Who", &query.actor),
                ("action", "What, such as device.register", &query.action),
                ("subject", "Device, product, token or user", &query.subject),
            ] {
                label.search { (icon::search()) input type="search" name=(name) value=[value.as_ref()] placeholder=(label) aria-label=(label) autocapitalize="none" spellcheck="false"; }
            }
            button type="submit" { "Show" }
        }
        @if entries.items.is_empty() {
            div.empty.small { h2 { "Nothing fits" } p { "There are no such entries. " a href="/audit" { "Show all" } } }
        } @else {
            div.card.flush { table.audit {
                thead { tr { th { "When" } th { "Who" } th { "What" } th { "Before" } th { "After" } } }
                tbody { @for entry in entries.items.iter().rev() { (row(entry)) } }
            } }
            nav.pager aria-label="Pages" {
                @if query.before.is_some() { a.button href="/audit" { "Newest" } }
                @if let Some(next) = &entries.next { a.button href=(href(query, next)) rel="next" { "Older" } }
            }
        }
    }
}

fn row(entry: &AuditEntry) -> Markup {
    html! {
        tr {
            td { (words::ago(entry.at)) }
            td { (entry.actor) span.small { " " (entry.actor_kind) @if let Some(address) = &entry.address { ", " (address) } } }
            td { code.act { (entry.action) } " " (entry.subject) }
            @for detail in [&entry.before, &entry.after] {
                td.small { @if let Some(detail) = detail { (words_of(detail)) } }
            }
        }
    }
}

/// The parts of an entry's detail that say something, as words.
fn words_of(detail: &Value) -> String {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let Some(parts) = detail.as_object() else { return word(detail) };
    let said = parts.iter().filter(|(_, value)| !value.is_null());
    said.map(|(name, value)| format!("{} {}", name.replace('_', " "), word(value)))
        .collect::<Vec<_>>()
        .join(", ")
}
