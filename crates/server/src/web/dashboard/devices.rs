//! The fleet: who is there, what it runs, and what happens to it.

use std::collections::HashMap;

use api::{Device, HOLD, Identity, Page, Product, UpdateState};
use axum::extract::{Query, State};
use axum::response::Response;
use contract::Version;
use maud::{Markup, html};

use super::check_all::{asks, check_all_dialog, check_all_form};
use super::document::{PageError, empty};
use super::filter::{Filter, filters};
use super::register::add_dialog;
use super::visit::{Section, Visit};
use super::{icon, not_admitted, progress, words};
use crate::devices::{Counts, Devices, IN_FLIGHT, NOT_SUCCEEDED};
use crate::releases::Releases;
use crate::web::caller::Right;

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
    let turned_away = service.not_admitted().len();
    let content = view(&visit, &filter, &devices, &counts, &products, turned_away);
    Ok(visit.page("Devices", Section::Devices, content).await)
}

fn view(
    visit: &Visit,
    filter: &Filter,
    devices: &Page<Device>,
    counts: &Counts,
    products: &[Product],
    turned_away: usize,
) -> Markup {
    let operates = visit.may(Right::Operate);
    html! {
        div.head {
            div {
                h1 { "Devices" }
                (not_admitted::link(turned_away))
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
    let (updating, failed) = (of(&IN_FLIGHT), of(&NOT_SUCCEEDED));
    let inside = |count: u64, label: &str| html! { span.figure { (words::grouped(count)) } span.label { span.dot {} (label) } };
    let link = |state: &str, class: &str, count: u64, label: &str| {
        html! { a.tile.(class) href=(filter.href(state, "")) aria-current=[(filter.state == state).then_some("true")] { (inside(count, label)) } }
    };
    html! {
        div.tiles {
            (link("", "quiet", counts.devices, "All devices"))
            (link("online", "good", counts.online, "Online"))
            (link("in_flight", if updating > 0 { "info moving" } else { "quiet" }, updating, "Updating"))
            (link("not_succeeded", if failed > 0 { "bad" } else { "quiet" }, failed, "Last update failed"))
            @for (identity, label) in [(Identity::Mislabelled, "Mislabelled"), (Identity::Foreign, "Foreign image")] {
                @if let Some(count) = counts.identities.get(&identity) { (link(identity.as_str(), "bad", *count, label)) }
            }
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

pub(super) fn table(visit: &Visit, filter: &Filter, devices: &[Device], products: &[Product]) -> Markup {
    let production: HashMap<_, _> = products.iter().map(|p| (&p.name, p.production.as_ref())).collect();
    let show_product = products.len() > 1 && filter.product.is_empty();
    html! {
        div.card.flush {
            table.devices {
                thead { tr {
                    th { "Device" }
                    th { "Version" }
                    th { "Connection" }
                    th { "Last update" }
                    @if visit.may(Right::Operate) { th.end { span.hidden { "Actions" } } }
                } }
                tbody {
                    @for device in devices {
                        @let available = device.product.as_ref().and_then(|p| production.get(p).copied().flatten());
                        (row(visit, device, available, show_product))
                    }
                }
            }
        }
    }
}

fn row(visit: &Visit, device: &Device, production: Option<&Version>, show_product: bool) -> Markup {
    let available = production.filter(|wanted| match (device.identity.known(), &device.image) {
        (Some(Identity::Mislabelled), Some(image)) => image.version != **wanted,
        (Some(Identity::Foreign), _) => true,
        _ => device
            .version
            .as_deref()
            .and_then(Version::said)
            .is_some_and(|running| running != **wanted && !wanted.is_below(&running)),
    });
    let moving = device.update.as_ref().is_some_and(progress::in_flight);
    let idle = if moving {
        Some("An update is on its way")
    } else if !device.online && device.last_seen.is_none() {
        Some("It was never seen, so nobody knows what it runs")
    } else {
        None
    };
    html! {
        tr id={ "row-" (device.id) } {
            td.name {
                a.id href={ "/devices/" (device.id) } { (device.id) }
                @let unsigned = words::takes_unsigned(&device.lacks);
                @let wrong = words::wrong_image(device);
                @if show_product || unsigned || wrong.is_some() || device.twins || !device.tags.is_empty() || device.group.is_some() || device.pin.is_some() {
                    div.small {
                        @if device.twins { span.tag.unsigned title=(words::TWINS) { "two devices" } }
                        @if let Some(pin) = &device.pin { span.tag title=[&device.pin_reason] { @if pin == HOLD { "on hold" } @else { "pinned " (pin) } } }
                        @if let Some(group) = &device.group { span { (group) } }
                        @if let Some((word, sentence)) = wrong { span.tag.unsigned title=(sentence) { (word) } }
                        @if unsigned { span.tag.unsigned title=(words::lack("signatures").1) { "takes unsigned" } }
                        @if show_product { @if let Some(product) = &device.product { span { (product) } } @else { span { "no product" } } }
                        @for tag in &device.tags { span.tag { (tag) } }
                    }
                }
            }
            td data-label="Version" {
                div.line {
                    @if let Some(version) = &device.version { span.version.strong { (version) } } @else { span.small { "not reported" } }
                    @if let Some(wanted) = available { span.hint title={ (wanted) " is in production" } { (icon::upward()) (wanted) } }
                }
            }
            td data-label="Connection" { (presence(device)) }
            td.last data-label="Last update" {
                @if let Some(update) = &device.update { (progress::brief(update)) } @else { span.small { "never" } }
                (visit.said_about_device(device))
            }
            @if visit.may(Right::Operate) {
                td.end {
                    form method="post" action={ "/devices/" (device.id) "/check" } data-answer={ "said-" (device.id) } {
                        input type="hidden" name="back" value="list";
                        button type="submit" aria-label={ "Check update for " (device.id) } disabled[idle.is_some()] title=[idle] { "Check update" }
                    }
                }
            }
        }
    }
}

/// Online, or when it was last heard.
pub(crate) fn presence(device: &Device) -> Markup {
    html! {
        span class={ "presence " (if device.online { "good" } else { "quiet" }) } {
            span.dot {}
            @if device.online { "Online" }
            @else if let Some(seen) = device.last_seen { span { "Seen " (words::ago(seen)) } }
            @else { "Never seen" }
        }
    }
}
