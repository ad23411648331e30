//! What is known of a device.

use maud::{Markup, html};

use super::words;
use crate::releases::SLOT_SIZES;
use api::Device;

pub(super) fn facts(device: &Device) -> Markup {
    let report = device.report.clone().unwrap_or_default();
    let rollback = report.rollback.map(|on| if on { "On" } else { "Off: a bad image stays" });
    let slot = match (&report.slot, &report.state) {
        (Some(slot), Some(state)) => Some(format!("{slot}, {}", state.replace('_', " "))),
        (slot, state) => slot.clone().or_else(|| state.clone()),
    };
    let seen = device.last_seen.map(words::ago);
    let rows: [(&str, Option<Markup>); 9] = [
        ("Chip", report.chip.map(|chip| html! { (chip) })),
        ("Slot", slot.map(|slot| html! { (slot) })),
        ("Room for an image", report.slot_bytes.map(room)),
        ("Rollback", rollback.map(|text| html! { (text) })),
        ("Last restart", report.reset.map(|reset| html! { (reset.replace('_', " ")) })),
        ("Last heard", seen),
        ("Known since", Some(words::ago(device.created_at))),
        (
            "MQTT password",
            Some(html! { @if device.registered { "Its own" } @else { "None; known by its report" } }),
        ),
        (
            "Image",
            device.sha256.map(|digest| html! { code.digest title=(digest) { (&digest.to_hex()[..12]) "…" } }),
        ),
    ];
    html! {
        section.card {
            h2 { "Facts" }
            @if device.report.is_none() { p.small { "This device reports a bare version and nothing else." } }
            dl.facts {
                @for (name, value) in rows {
                    @if let Some(value) = value { div { dt { (name) } dd { (value) } } }
                }
            }
        }
    }
}

/// The size of a slot, or that it can be none: what a device says by mistake is seen where one looks for it.
fn room(bytes: u32) -> Markup {
    html! {
        (words::size(u64::from(bytes)))
        @if !SLOT_SIZES.contains(&bytes) {
            " "
            span.small { "A slot has 64 KiB to 16 MiB, so this is passed over where images are checked for the product." }
        }
    }
}
