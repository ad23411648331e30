//! One device: what it runs, what it is told, and what came of it.

use axum::response::Response;
use contract::{DeviceId, Version};
use maud::{Markup, html};

use super::form::Fields;
use super::{PageError, Said, Section, Tone, Visit, icon, progress, sentence, words};
use crate::api::extract::Path;
use crate::app::{AppError, SLOT_SIZES};
use crate::model::{Device, Page, Update, UpdateState};
use crate::session::Right;

/// Updates shown.
const HISTORY: u32 = 50;

/// `GET /devices/{id}`.
pub(crate) async fn page(visit: Visit, Path(id): Path<DeviceId>) -> Result<Response, PageError> {
    let app = &visit.web.app;
    let device = app.device(&id).await?;
    let history = app.updates(&id, None, HISTORY).await?;
    let products = app.products().await.unwrap_or_default();
    let production =
        products.into_iter().find(|p| Some(&p.name) == device.product.as_ref()).and_then(|p| p.production);
    let content = view(&visit, &device, &history, production.as_ref());
    Ok(visit.page(&id, Section::Devices, content).await)
}

fn view(visit: &Visit, device: &Device, history: &Page<Update>, production: Option<&Version>) -> Markup {
    let operates = visit.may(Right::Operate);
    html! {
        a.back href="/" { "Devices" }
        div.head {
            div {
                h1.id { (device.id) }
                p.sub {
                    (super::devices::presence(device))
                    @if let Some(product) = &device.product { a href={ "/releases/" (product) } { (product) } }
                    @for tag in &device.tags { span.tag { (tag) } }
                }
            }
        }
        (lacks(device))
        div.columns {
            div.wide {
                (hero(visit, device, production))
                (history_card(history))
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
    let standing = match (&device.version, production) {
        (None, _) => ("It has not reported a version yet.", None),
        (Some(_), None) => ("Nothing is in production.", None),
        (Some(running), Some(wanted)) if running == wanted => ("This is what production points to.", None),
        (Some(running), Some(wanted)) if running < wanted => ("is in production.", Some(wanted)),
        (Some(_), Some(wanted)) => ("is in production; this device runs a newer one.", Some(wanted)),
    };
    html! {
        section.card.hero {
            div.top {
                div {
                    p.eyebrow { "Running" }
                    p.huge.version { @if let Some(version) = &device.version { (version) } @else { "unknown" } }
                    p.small { @if let Some(wanted) = standing.1 { span.version.strong { (wanted) } " " } (standing.0) }
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
                @if progress::in_flight(update) || !matches!(update.state, UpdateState::Cancelled) {
                    div.update {
                        p.line {
                            @let (word, tone) = words::state(update.state);
                            (words::chip(tone, word))
                            span { @if let Some(from) = &update.from { span.version { (from) } " → " } span.version.strong { (update.to) } }
                            span.when { (words::ago(update.finished_at.unwrap_or(update.created_at))) }
                        }
                        (progress::steps(update))
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
                button type="submit" name="force" value="true" title="Sends the trigger although the device seems to be offline" { "Send anyway" }
            }
        }
    }
}

fn history_card(history: &Page<Update>) -> Markup {
    html! {
        section.card.flush {
            div.cardhead { h2 { "History" } @if !history.items.is_empty() { span.small { (words::counted(history.items.len() as u64, "update")) @if history.next.is_some() { " and more" } } } }
            @if history.items.is_empty() {
                p.none { "No update was ever offered to this device. Check update asks whether there is one." }
            } @else {
                ol.history {
                    @for update in &history.items {
                        @let (word, tone) = words::state(update.state);
                        li id={ "update-" (update.id) } {
                            div.line {
                                (words::chip(tone, word))
                                span { @if let Some(from) = &update.from { span.version { (from) } " → " } span.version.strong { (update.to) } }
                                span.when {
                                    (words::ago(update.created_at))
                                    @if let Some(end) = update.finished_at { " · took " (words::duration(update.created_at, end)) }
                                    " · " (words::size(update.bytes))
                                }
                            }
                            (words::reason(update))
                        }
                    }
                }
            }
        }
    }
}

fn facts(device: &Device) -> Markup {
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

fn housekeeping(visit: &Visit, device: &Device) -> Markup {
    html! {
        section.card {
            h2 { "Housekeeping" }
            p.small { "An image that failed twice on this device is in quarantine and not offered to it again." }
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

/// `POST /devices/{id}/check`.
pub(crate) async fn check(visit: Visit, Path(id): Path<DeviceId>, fields: Fields) -> Response {
    let to = if fields.text("back") == Some("list") { "/".to_owned() } else { format!("/devices/{id}") };
    let said = match visit.web.app.check_update(&id, fields.text("force") == Some("true")).await {
        Ok(answer) => {
            let (title, tone) = words::decision(&answer.decision);
            Said::new(tone, title, sentence(&answer.reason)).announcing(answer.update.as_ref())
        }
        Err(error) => Said::failed(error),
    };
    visit.answer(&said.about(&id), &to)
}

/// `POST /updates/{id}/cancel`.
pub(crate) async fn cancel(visit: Visit, Path(number): Path<i64>) -> Response {
    match visit.web.app.cancel_update(number).await {
        Ok(update) => {
            let text = format!(
                "{} is no longer offered. If the device has the image already, it may still install it.",
                update.to
            );
            visit.answer(
                &Said::new(Tone::Info, "Cancelled", text).about(&update.device),
                &format!("/devices/{}", update.device),
            )
        }
        Err(error) => visit.answer(&Said::failed(error).about("all"), "/"),
    }
}

/// `POST /devices/{id}/clear-quarantine`.
pub(crate) async fn clear_quarantine(visit: Visit, Path(id): Path<DeviceId>) -> Response {
    let said = done(
        visit.web.app.clear_quarantine(&id).await,
        "Quarantine cleared",
        "Every image may be offered to this device again.",
    );
    visit.answer(&said.about("quarantine"), &format!("/devices/{id}"))
}

/// `POST /devices/{id}/remove`.
pub(crate) async fn remove(visit: Visit, Path(id): Path<DeviceId>) -> Response {
    match visit.web.app.remove_device(&id).await {
        Ok(()) => visit.go(&Said::new(Tone::Good, "Removed", format!("{id} is gone.")).about("all"), "/"),
        Err(error) => visit.answer(&Said::failed(error).about("quarantine"), &format!("/devices/{id}")),
    }
}

/// The answer to a form that either does it or says why not.
pub(crate) fn done<T>(result: Result<T, AppError>, title: &str, text: &str) -> Said {
    match result {
        Ok(_) => Said::new(Tone::Good, title, text),
        // Nobody knows yet that it failed.
        Err(AppError::GoesOn(why)) => Said::new(Tone::Warn, "Not done yet", sentence(&why)),
        Err(error) => Said::failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_not_said_to_have_failed() {
        let slow = done::<()>(Err(AppError::GoesOn("the store takes its time".to_owned())), "Blocked", "");
        let markup = slow.markup().into_string();
        assert!(markup.contains("Not done yet") && markup.contains("The store takes its time."), "{markup}");
        let failed =
            done::<()>(Err(AppError::Refused("no".to_owned())), "Blocked", "").markup().into_string();
        assert!(failed.contains("Not done<"), "{failed}");
    }
}
