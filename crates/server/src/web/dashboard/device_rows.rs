//! The table of devices.

use std::collections::HashMap;

use contract::Version;
use maud::{Markup, html};

use super::filter::Filter;
use super::visit::Visit;
use super::{icon, progress, words};
use crate::web::right::Right;
use api::{Device, Product, Word};

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
    let available = production.filter(|wanted| {
        device.version.as_ref().and_then(Word::known).is_some_and(|running| running < *wanted)
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
                @if show_product || unsigned || !device.tags.is_empty() {
                    div.small {
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
