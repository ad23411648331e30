//! An update on its way: the small form for a row, and the steps for a device's page.

use maud::{Markup, html};

use super::words;
use api::{Update, UpdateState};

/// The five steps of an update that goes well.
const STEPS: [&str; 5] = ["Offered", "Downloading", "Verifying", "Restarting", "Confirmed"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reached {
    step: usize,
    ended: Option<bool>,
}

fn reached(update: &Update) -> Reached {
    let by_phase = match update.phase.as_deref() {
        Some("download") => 1,
        Some("verify") => 2,
        Some("restart") => 3,
        _ => 0,
    };
    match update.state.known() {
        Some(UpdateState::Offered | UpdateState::Deferred) => Reached { step: 0, ended: None },
        Some(UpdateState::Downloading) => Reached { step: by_phase.max(1), ended: None },
        Some(UpdateState::Restarting) => Reached { step: 3, ended: None },
        Some(UpdateState::Succeeded) => Reached { step: 4, ended: Some(true) },
        Some(UpdateState::RolledBack) => Reached { step: 4, ended: Some(false) },
        Some(UpdateState::Failed | UpdateState::TimedOut | UpdateState::Cancelled) | None => {
            Reached { step: by_phase, ended: Some(false) }
        }
    }
}

/// Percent of the present phase, if the device counts bytes.
fn percent(update: &Update) -> Option<u64> {
    let counts = update.state == UpdateState::Downloading && update.bytes > 0 && update.done > 0;
    counts.then(|| (update.done.min(update.bytes) * 100) / update.bytes)
}

pub(crate) fn in_flight(update: &Update) -> bool {
    update.state.is_in_flight()
}

/// A row's view: the state, and a bar while it moves.
pub(crate) fn brief(update: &Update) -> Markup {
    let (word, tone) = words::state(&update.state);
    let verifying = in_flight(update) && reached(update).step == 2;
    html! {
        div.brief {
            div.line {
                (words::chip(tone, if verifying { "Verifying" } else { word }))
                span.version { (update.to) }
                @if !in_flight(update) { span.when { (words::ago(update.finished_at.unwrap_or(update.created_at))) } }
                @else if let Some(percent) = percent(update) { span.when { (percent) " %" } }
            }
            @if in_flight(update) { (bar(update)) }
        }
    }
}

fn bar(update: &Update) -> Markup {
    let label = format!("Update of {} to {}", update.device, update.to);
    match percent(update) {
        Some(percent) if reached(update).step == 1 => {
            html! { progress max="100" value=(percent) aria-label=(label) {} }
        }
        _ => html! { progress aria-label=(label) {} },
    }
}

/// A device page's view: how far it is, step by step, in words and in bytes.
pub(crate) fn steps(update: &Update) -> Markup {
    let reached = reached(update);
    let last = if update.state == UpdateState::RolledBack { "Rolled back" } else { "Confirmed" };
    html! {
        ol.steps {
            @for (place, name) in STEPS.iter().enumerate() {
                @let look = match (place.cmp(&reached.step), reached.ended) {
                    (std::cmp::Ordering::Less, _) | (std::cmp::Ordering::Equal, Some(true)) => "done",
                    (std::cmp::Ordering::Equal, Some(false)) => "broken",
                    (std::cmp::Ordering::Equal, None) => "now",
                    (std::cmp::Ordering::Greater, _) => "later",
                };
                li class=(look) aria-current=[(look == "now").then_some("step")] {
                    span.mark {}
                    span { @if place == 4 { (last) } @else { (name) } }
                }
            }
        }
        @if in_flight(update) {
            (bar(update))
            p.counted {
                @if reached.step == 1 && update.done > 0 {
                    span.number { (words::size_text(update.done)) " of " (words::size_text(update.bytes)) }
                    @if let Some(percent) = percent(update) { span.number { (percent) " %" } }
                } @else {
                    @let refused = update.reason.as_deref().map(words::sentence);
                    span { (refused.unwrap_or_else(|| waiting_for(reached.step).to_owned())) }
                    (words::size(update.bytes))
                }
            }
        }
    }
}

fn waiting_for(step: usize) -> &'static str {
    match step {
        0 => "The signed URL was sent; waiting for the device to begin.",
        1 => "The device downloads. It does not say how far it is.",
        2 => "The device reads the image back and verifies it.",
        _ => "The device restarts into the new image and tests itself.",
    }
}

/// One sentence for those who listen instead of look; it changes at every tenth only.
pub(crate) fn spoken(update: &Update) -> String {
    let (word, _) = words::state(&update.state);
    match percent(update) {
        Some(percent) => format!("{word} {}, {} percent", update.to, percent / 10 * 10),
        None => format!("{word} {}", update.to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(state: UpdateState, phase: Option<&str>, done: u64) -> Update {
        Update {
            id: 1,
            device: "d".parse().expect("valid"),
            from: None,
            to: api::Word::Known("1.2.0".parse().expect("valid")),
            state: state.into(),
            reason: None,
            code: None,
            cause: None,
            bytes: 1000,
            phase: phase.map(str::to_owned),
            done,
            created_at: chrono::Utc::now(),
            finished_at: None,
            waiting: false,
            expires_at: None,
            deferred_until: None,
            unconfirmed: false,
        }
    }

    #[test]
    fn a_device_that_counts_more_than_there_is_shows_100_percent() {
        assert_eq!(percent(&update(UpdateState::Downloading, Some("download"), 5000)), Some(100));
        assert_eq!(percent(&Update { bytes: 0, ..update(UpdateState::Downloading, None, 5) }), None);
    }

    #[test]
    fn each_state_is_at_its_step() {
        for (state, phase, step, ended) in [
            (UpdateState::Offered, None, 0, None),
            (UpdateState::Downloading, None, 1, None),
            (UpdateState::Downloading, Some("verify"), 2, None),
            (UpdateState::Restarting, Some("restart"), 3, None),
            (UpdateState::Succeeded, None, 4, Some(true)),
            (UpdateState::Failed, Some("verify"), 2, Some(false)),
        ] {
            assert_eq!(reached(&update(state, phase, 0)), Reached { step, ended });
        }
    }
}
