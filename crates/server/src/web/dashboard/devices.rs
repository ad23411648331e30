//! The fleet: who is there, what it runs, and what happens to it.

use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};

use super::check_all::{asks, check_all_dialog, check_all_form};
use super::device_rows::table;
use super::document::PageError;
use super::filter::{Filter, filters};
use super::parts::empty;
use super::register::add_dialog;
use super::visit::{Section, Visit};
use super::{icon, words};
use crate::devices::{Counts, Devices};
use crate::releases::Releases;
use crate::web::right::Right;
use api::{Device, Page, Product, UpdateState};

/// `GET /`.
pub(crate) async fn page(
    State(service): State<Devices>,
    State(releases): State<Releases>,
    visit: Visit,
    Query(filter): Query<Filter>,
) -> Result<Response, PageError> {
    let query = filter.query()?;
    let devices = service.list(&query).await?;
    let counts = service.counts(query.product.as_ref()).await?;
    // The table is worth showing without them: they come from the bucket.
    let products = releases.products().await.unwrap_or_default();
    let content = view(&visit, &filter, &devices, &counts, &products);
    Ok(visit.page("Devices", Section::Devices, content).await)
}

fn view(
    visit: &Visit,
    filter: &Filter,
    devices: &Page<Device>,
    counts: &Counts,
    products: &[Product],
) -> Markup {
    let operates = visit.may(Right::Operate);
    html! {
        div.head {
            div {
                h1 { "Devices" }
                @if !products.is_empty() { p.sub { @if products.len() == 1 { (products[0].name) } @else { (words::counted(products.len() as u64, "product")) } } }
            }
            @if operates {
                div.actions {
                    @if !devices.items.is_empty() { (check_all_form(filter, devices)) }
                    button.primary type="button" data-open="add-device" { (icon::plus()) "Add device" }
                }
            }
        }
        (visit.said_about("all"))
        (tiles(filter, counts))
        @if counts.devices == 0 && filter.is_empty() {
            (nothing_yet(operates))
        } @else {
            (filters(filter, products))
            @if devices.items.is_empty() {
                div.empty.small {
                    h2 { "No device fits" }
                    p { "Nothing matches this search. " a href="/" { "Show all devices" } }
                }
            } @else {
                (table(visit, filter, &devices.items, products))
                nav.pager aria-label="Pages" {
                    @if !filter.cursor.is_empty() { a.button href=(filter.href(&filter.state, "")) { "First page" } }
                    @if let Some(next) = &devices.next { a.button href=(filter.href(&filter.state, next)) rel="next" { "Next page" } }
                }
            }
        }
        @if operates {
            (add_dialog(products))
            @if asks(devices) { (check_all_dialog(filter, devices)) }
        }
    }
}

fn tiles(filter: &Filter, counts: &Counts) -> Markup {
    let of = |states: &[UpdateState]| states.iter().filter_map(|state| counts.newest.get(state)).sum::<u64>();
    let updating = of(&[UpdateState::Offered, UpdateState::Downloading, UpdateState::Restarting]);
    let failed = of(&[UpdateState::Failed, UpdateState::RolledBack, UpdateState::TimedOut]);
    let inside = |count: u64, label: &str| html! { span.figure { (words::grouped(count)) } span.label { span.dot {} (label) } };
    let link = |state: &str, class: &str, count: u64, label: &str| {
        html! { a.tile.(class) href=(filter.href(state, "")) aria-current=[(filter.state == state).then_some("true")] { (inside(count, label)) } }
    };
    let tile = |class: &str, count: u64, label: &str| html! { div.tile.(class) { (inside(count, label)) } };
    html! {
        div.tiles {
            (link("", "quiet", counts.devices, "All devices"))
            (link("online", "good", counts.online, "Online"))
            (tile(if updating > 0 { "info moving" } else { "quiet" }, updating, "Updating"))
            (tile(if failed > 0 { "bad" } else { "quiet" }, failed, "Last update failed"))
        }
    }
}

fn nothing_yet(operates: bool) -> Markup {
    let text = if operates {
        "Add the first one here, or on the server with the command below. Its MQTT password is shown once."
    } else {
        "Devices appear here once somebody adds them."
    };
    empty(
        &icon::chip(),
        "No devices yet",
        text,
        operates.then_some("updraft device add esp-01 --product esp32s3"),
    )
}
