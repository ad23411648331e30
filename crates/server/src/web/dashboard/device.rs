//! One device: what it runs, what it is offered, and what came of it.

use api::{Device, HOLD, Page, Update, UpdateEvent, UpdateState};
use axum::extract::{Query, State};
use axum::response::Response;
use contract::{DeviceId, Version};
use image::Revision;
use maud::{Markup, html};
use serde::Deserialize;

use super::devices::presence;
use super::document::PageError;
use super::visit::{Section, Visit};
use super::{icon, progress, words};
use crate::devices::Devices;
use crate::releases::{Releases, SLOT_SIZES};
use crate::updates::Updates;
use crate::web::caller::Right;
use crate::web::extract::Path;

/// Maximum number of updates that are shown.
const HISTORY: u32 = 50;
/// Maximum number of events of an update that are shown.
const EVENTS: u32 = 500;

/// The update of which is shown what happened.
#[derive(Deserialize)]
pub(crate) struct Opened {
    update: Option<i64>,
}

pub(crate) async fn page(
    State(devices): State<Devices>,
    State(updates): State<Updates>,
    State(releases): State<Releases>,
    visit: Visit,
    Path(id): Path<DeviceId>,
    Query(Opened { update }): Query<Opened>,
) -> Result<Response, PageError> {
    let device = devices.show(&id).await?;
    let history = updates.of_device(&id, None, HISTORY).await?;
    let opened = match update {
        Some(number) => Some((number, updates.events(&id, number, None, Some(EVENTS)).await?)),
        None => None,
    };
    let products = releases.products().await.unwrap_or_default();
    let production =
        products.into_iter().find(|p| Some(&p.name) == device.product.as_ref()).and_then(|p| p.production);
    let history = history_card(&device, &history, opened.as_ref());
    let content = view(&visit, &device, &history, production.as_ref());
    Ok(visit.page(&id, Section::Devices, content).await)
}

fn view(visit: &Visit, device: &Device, history: &Markup, production: Option<&Version>) -> Markup {
    let operates = visit.may(Right::Operate);
    html! {
        a.back href="/" { "Devices" }
        div.head {
            div {
                h1.id { (device.id) }
                p.sub {
                    (presence(device))
                    @if let Some(product) = &device.product { a href={ "/releases/" (product) } { (product) } }
                    @if let Some(group) = &device.group { span { "Group " (group) } }
                    @for tag in &device.tags { span.tag { (tag) } }
                }
            }
        }
        @if device.twins { div.lacks { p.notice.(words::Tone::Bad.class()) { strong { (words::TWINS) } } } }
        @if let Some((_, sentence)) = words::wrong_image(device) { div.lacks { p.notice.(words::Tone::Bad.class()) { strong { (sentence) } } } }
        (lacks(device))
        @if let Some(why) = device.report.as_ref().and_then(|report| report.returned.as_ref()) {
            p.notice.(words::Tone::Warn.class()) {
                "The device went back to the connection settings before: " (why) ". Check the new ones, and send them again."
            }
        }
        div.columns {
            div.wide {
                (hero(visit, device, production))
                (history)
            }
            div.narrow {
                (facts(device))
                @if let Some(unreadable) = &device.unreadable {
                    section.card {
                        h2 { "Unreadable messages" }
                        p { (words::counted(unreadable.count, "message")) " could not be read and changed nothing. The last came " (words::ago(unreadable.last_at)) ":" }
                        p.quote { (unreadable.last) }
                    }
                }
                @if operates { (housekeeping(visit, device)) }
            }
        }
        @if operates { (remove_dialog(device)) }
    }
}

/// The protections that the device says it does without, one sentence each.
fn lacks(device: &Device) -> Markup {
    html! {
        @if !device.lacks.is_empty() {
            div.lacks {
                @for word in &device.lacks {
                    @let (tone, sentence) = words::lack(word);
                    p.notice.(tone.class()) { strong { (sentence) } }
                }
            }
        }
    }
}

fn hero(visit: &Visit, device: &Device, production: Option<&Version>) -> Markup {
    let moving = device.update.as_ref().filter(|update| progress::in_flight(update));
    let running = device.version.as_deref().and_then(Version::said);
    let beside = match (&running, production) {
        (None, _) => ("It has not reported a version yet.", None),
        (Some(_), None) => ("Nothing is in production.", None),
        (Some(_), Some(wanted)) if words::wrong_image(device).is_some() => {
            ("is in production.", Some(wanted))
        }
        (Some(running), Some(wanted)) if running == wanted => ("This is what production points to.", None),
        (Some(running), Some(wanted)) if wanted.is_below(running) => {
            ("is in production; this device runs a newer one.", Some(wanted))
        }
        (Some(_), Some(wanted)) => ("is in production.", Some(wanted)),
    };
    html! {
        section.card.hero {
            div.top {
                div {
                    p.eyebrow { "Running" }
                    p.huge.version { @if let Some(version) = &device.version { (version) } @else { "unknown" } }
                    p.small { @if let Some(wanted) = beside.1 { span.version.strong { (wanted) } " " } (beside.0) }
                }
                @if visit.may(Right::Operate) {
                    div.actions {
                        @if let Some(update) = moving {
                            form method="post" action={ "/updates/" (update.id) "/cancel" } data-answer={ "said-" (device.id) } {
                                input type="hidden" name="device" value=(device.id);
                                button type="submit" { "Cancel update" }
                            }
                        }
                        (check_form(device, moving.is_some()))
                    }
                }
            }
            (visit.said_about_device(device))
            @if let Some(update) = &device.update {
                @if progress::in_flight(update) || update.state != UpdateState::Cancelled {
                    div.update {
                        p.line {
                            @let (word, tone) = words::state(&update.state);
                            (words::chip(tone, word))
                            span { @if let Some(from) = &update.from { span.version { (from) } " → " } span.version.strong { (update.to) } }
                            span.when { (words::ago(update.finished_at.unwrap_or(update.created_at))) }
                        }
                        (progress::steps(update))
                        @if let Some(waits) = words::waits(update) { p.small { (waits) } }
                        (words::reason(update))
                    }
                }
                p.hidden aria-live="polite" { (progress::spoken(update)) }
            }
        }
    }
}

fn check_form(device: &Device, moving: bool) -> Markup {
    html! {
        form.check method="post" action={ "/devices/" (device.id) "/check" } data-answer={ "said-" (device.id) } {
            button.primary type="submit" disabled[moving] { (icon::again()) "Check update" }
            @if !device.online && !moving {
                button type="submit" name="when_online" value="true" title="Keeps the update for the device for a week, and sends it when it comes" { "Send when it comes" }
                button type="submit" name="force" value="true" title="Sends the trigger although the device seems to be offline, and tells it not to put the update off" { "Send anyway" }
            }
        }
    }
}

fn history_card(
    device: &Device,
    history: &Page<Update>,
    opened: Option<&(i64, Page<UpdateEvent>)>,
) -> Markup {
    html! {
        section.card.flush {
            div.cardhead { h2 { "History" } @if !history.items.is_empty() { span.small { (words::counted(history.items.len() as u64, "update")) @if history.next.is_some() { " and more" } } } }
            @if history.items.is_empty() {
                p.none { "No update was ever offered to this device. Check update asks whether there is one." }
            } @else {
                ol.history {
                    @for update in &history.items {
                        @let (word, tone) = words::state(&update.state);
                        li id={ "update-" (update.id) } {
                            div.line {
                                (words::chip(tone, word))
                                span { @if let Some(from) = &update.from { span.version { (from) } " → " } span.version.strong { (update.to) } }
                                span.when {
                                    (words::ago(update.created_at))
                                    @if let Some(end) = update.finished_at { " · took " (words::duration(update.created_at, end)) }
                                    " · " (words::size(update.bytes))
                                    " · " a href={ "/devices/" (device.id) "?update=" (update.id) "#update-" (update.id) } { "What happened" }
                                }
                            }
                            (words::reason(update))
                            @if let Some((_, events)) = opened.filter(|(number, _)| *number == update.id) { (events_list(events)) }
                        }
                    }
                }
            }
        }
    }
}

fn events_list(events: &Page<UpdateEvent>) -> Markup {
    html! {
        @if events.items.is_empty() { p.small { "What happened to it is not kept any more." } }
        ol.events {
            @for event in &events.items {
                li {
                    span.when { (words::clock(event.at)) }
                    " " strong { (event.kind) } " by " (event.actor_kind) @if !event.actor.is_empty() { " " (event.actor) }
                    @if event.from.as_ref() != Some(&event.to) { ": " (words::state(&event.to).0) }
                    @if let Some(phase) = &event.phase { span.small { " · " (phase) " " (words::size(event.done)) } }
                    @if let Some(reason) = &event.reason { " · " (words::sentence(reason)) }
                }
            }
        }
    }
}

fn housekeeping(visit: &Visit, device: &Device) -> Markup {
    html! {
        section.card {
            h2 { "Group and pin" }
            @if let (Some(pin), Some(by)) = (&device.pin, &device.pin_by) {
                p.small { @if pin == HOLD { "On hold" } @else { "Pinned to " (pin) } " by " (by) @if let Some(why) = &device.pin_reason { ": " (why) } "." }
            }
            form.stack method="post" action={ "/devices/" (device.id) "/change" } data-answer="said-kept" {
                label { span { "Group" } input name="group" value=[&device.group] maxlength="64" autocapitalize="none"; }
                label { span { "Offer only this version (hold: nothing at all)" } input name="pin" value=[&device.pin] maxlength="64" autocapitalize="none" spellcheck="false"; }
                label { span { "Why" } input name="reason" value=[&device.pin_reason] maxlength="200"; }
                button.wide type="submit" { "Save" }
            }
            (visit.said_about("kept"))
        }
        section.card {
            h2 { "Housekeeping" }
            p.small { "An image that failed twice on this device is in quarantine, and not offered to it again; nor is one that it refused three times for the same reason." }
            form method="post" action={ "/devices/" (device.id) "/clear-quarantine" } data-answer="said-quarantine" {
                button.wide type="submit" { "Clear quarantine" }
            }
            (visit.said_about("quarantine"))
            button.wide.danger type="button" data-open="remove-device" { "Remove device…" }
        }
    }
}

fn remove_dialog(device: &Device) -> Markup {
    html! {
        dialog #remove-device aria-labelledby="remove-title" {
            form.stack method="post" action={ "/devices/" (device.id) "/remove" } data-answer="said-remove" {
                div.title { h2 #remove-title { "Remove " (device.id) "?" } button.ghost.icon type="button" data-close aria-label="Close" { (icon::close()) } }
                p.lead { "Its MQTT password stops working and its history is deleted. The firmware on the device stays as it is." }
                div #said-remove data-keep aria-live="polite" {}
                div.buttons { button type="button" data-close { "Keep it" } button.danger.solid type="submit" { "Remove device" } }
            }
        }
    }
}

pub(super) fn facts(device: &Device) -> Markup {
    let report = device.report.clone().unwrap_or_default();
    let rollback = report.rollback.map(|on| if on { "On" } else { "Off: a bad image stays" });
    let slot = match (&report.slot, &report.state) {
        (Some(slot), Some(state)) => Some(format!("{slot}, {}", state.replace('_', " "))),
        (slot, state) => slot.clone().or_else(|| state.clone()),
    };
    let revision = report.chip_revision.map(|revision| format!(" {}", Revision(revision)));
    let chip = report.chip.map(|chip| format!("{chip}{}", revision.unwrap_or_default()));
    let seen = device.last_seen.map(words::ago);
    let rows: [(&str, Option<Markup>); 9] = [
        ("Chip", chip.map(|chip| html! { (chip) })),
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
