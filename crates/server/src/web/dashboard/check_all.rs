//! Checking each device of a list.

use std::collections::BTreeMap;

use api::{Device, Page};
use axum::extract::State;
use axum::response::Response;
use contract::{DeviceId, Version};
use maud::{Markup, html};

use super::filter::{Filter, ROWS};
use super::visit::{Said, Visit};
use super::words::{Tone, sentence};
use super::{icon, words};
use crate::updates::Updates;
use crate::web::extract::Fields;
use crate::web::problem::Problem;

/// Maximum number of devices that are checked without asking first.
const UNASKED: usize = 10;

/// At once for a few devices; for many there is [`check_all_dialog`].
pub(super) fn check_all_form(filter: &Filter, devices: &Page<Device>) -> Markup {
    let label = html! { (icon::again()) "Check all " span.number { (devices.items.len()) } @if asks(devices) { "…" } };
    html! {
        @if asks(devices) { button type="button" data-open="check-all" title="Checks each device in this list" { (label) } }
        @else {
            form method="post" action="/devices/check" data-answer="said-all" {
                (listed(filter, devices))
                button type="submit" title="Checks each device in this list" { (label) }
            }
        }
    }
}

pub(super) fn asks(devices: &Page<Device>) -> bool {
    devices.items.len() > UNASKED
}

pub(super) fn check_all_dialog(filter: &Filter, devices: &Page<Device>) -> Markup {
    let all = words::counted(devices.items.len() as u64, "device");
    html! {
        dialog #check-all aria-labelledby="check-all-title" {
            form.stack method="post" action="/devices/check" data-answer="said-all" {
                div.title { h2 #check-all-title { "Check update for " (all) "?" } button.ghost.icon type="button" data-close aria-label="Close" { (icon::close()) } }
                p.lead { "Each device of this page that runs an older version than production points to is offered the update at once." }
                (listed(filter, devices))
                div.buttons { button type="button" data-close autofocus { "Cancel" } button.primary type="submit" { "Check " (all) } }
            }
        }
    }
}

fn listed(filter: &Filter, devices: &Page<Device>) -> Markup {
    html! {
        input type="hidden" name="to" value=(filter.href(&filter.state, &filter.cursor));
        @for device in &devices.items { input type="hidden" name="id" value=(device.id); }
    }
}

/// `POST /devices/check`: each device of the list.
pub(crate) async fn check_all(State(updates): State<Updates>, visit: Visit, fields: Fields) -> Response {
    let to = fields.text("to").filter(|to| *to == "/" || to.starts_with("/?")).unwrap_or("/").to_owned();
    let mut decisions: BTreeMap<String, u64> = BTreeMap::new();
    let mut offered: BTreeMap<Version, u64> = BTreeMap::new();
    let mut failed = None;
    let ids: Vec<DeviceId> = fields.all("id").take(ROWS as usize).filter_map(|id| id.parse().ok()).collect();
    match updates.check_many(visit.by(), &ids, false).await {
        Ok(answers) => {
            for answer in answers.into_values() {
                match answer.version {
                    Some(version) if answer.decision == "offered" => {
                        *offered.entry(version).or_default() += 1;
                    }
                    _ => {
                        failed = failed.or((answer.decision == "store_unavailable").then_some(answer.reason));
                        *decisions.entry(answer.decision).or_default() += 1;
                    }
                }
            }
        }
        Err(error) => failed = Some(Problem::from(error).detail),
    }
    visit.answer(&summary(&offered, &decisions, failed.as_deref()).about("all"), &to)
}

/// What was begun comes first, then the other decisions with how many devices each was made for.
fn summary(
    offered: &BTreeMap<Version, u64>,
    decisions: &BTreeMap<String, u64>,
    failed: Option<&str>,
) -> Said {
    let total: u64 = offered.values().chain(decisions.values()).sum();
    let mut sentences: Vec<_> = offered
        .iter()
        .map(|(version, count)| format!("{version} was offered to {}.", words::counted(*count, "device")))
        .collect();
    let others: Vec<_> =
        decisions.iter().map(|(word, count)| format!("{count} {}", words::decision_counted(word))).collect();
    if !others.is_empty() {
        sentences.push(format!("{}.", others.join(", ")));
    }
    if let Some(why) = failed {
        sentences.push(format!("Not all could be checked: {}", sentence(why)));
    }
    let tone = if failed.is_some() {
        Tone::Bad
    } else if !offered.is_empty() {
        Tone::Good
    } else {
        Tone::Info
    };
    Said::new(tone, format!("Checked {}", words::counted(total, "device")), sentences.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_begins_with_what_was_offered() {
        let decisions = [("blocked".to_owned(), 1), ("up_to_date".to_owned(), 1)].into();
        let v = |version: &str| version.parse::<Version>().expect("a version");
        let offered = [(v("1.2.0"), 3), (v("2.0.0"), 1)].into();
        let said = summary(&offered, &decisions, None);
        assert_eq!(
            said.text,
            "1.2.0 was offered to 3 devices. 2.0.0 was offered to 1 device. 1 blocked, 1 up to date."
        );
        assert_eq!(said.title, "Checked 6 devices");
        let failed = summary(&[].into(), &[("store_unavailable".to_owned(), 1)].into(), Some("no answer"));
        assert_eq!(failed.text, "1 store unavailable. Not all could be checked: No answer.");
    }
}
