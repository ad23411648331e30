//! One rollout: how far each step is, which devices failed and why, and what can be done about it.

use std::collections::BTreeMap;

use api::{Page, Rollout, RolloutCounts, RolloutDevice, RolloutDeviceQuery, RolloutState};
use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};

use super::document::PageError;
use super::rollouts::{sentence, state};
use super::visit::{Said, Section, Visit};
use super::words;
use super::words::Tone;
use crate::error::Error;
use crate::updates::Rollouts;
use crate::web::caller::Right;
use crate::web::extract::{Fields, Path};

const ROWS: u32 = 50;
/// Failures that are grouped by their reasons, at most.
const GROUPED_MAX: u32 = 500;

/// `GET /rollouts/{n}`.
pub(crate) async fn page(
    State(rollouts): State<Rollouts>,
    visit: Visit,
    Path(number): Path<i64>,
    Query(query): Query<RolloutDeviceQuery>,
) -> Result<Response, PageError> {
    let rollout = rollouts.show(number).await?;
    let query = RolloutDeviceQuery { limit: Some(ROWS), ..query };
    let devices = rollouts.devices(number, &query).await?;
    let failed = RolloutDeviceQuery {
        state: Some("not_succeeded".to_owned()),
        cursor: None,
        limit: Some(GROUPED_MAX),
    };
    let failures = rollouts.devices(number, &failed).await?;
    let content = view(&visit, &rollout, &query, &devices, &failures);
    Ok(visit.page(&format!("Rollout {number}"), Section::Rollouts, content).await)
}

fn view(
    visit: &Visit,
    rollout: &Rollout,
    query: &RolloutDeviceQuery,
    devices: &Page<RolloutDevice>,
    failures: &Page<RolloutDevice>,
) -> Markup {
    html! {
        div.head {
            div {
                h1 { "Rollout " (rollout.id) }
                p.sub { (rollout.product) " " (rollout.version) @if let Some(at) = rollout.created_at { " · begun " (words::ago(at)) } " by " (rollout.created_by) }
            }
            (state(&rollout.state))
            @if visit.may(Right::Operate) { (buttons(rollout)) }
        }
        (visit.said_about("rollout"))
        (verdict(rollout))
        (tiles(rollout, query.state.as_deref().unwrap_or_default()))
        section.card.flush { table.rollouts {
            thead { tr { th { "Step" } th { "Devices" } th { "Waiting" } th { "In flight" } th { "Succeeded" } th { "Failed" } th { "Watched" } } }
            tbody { @for (n, step) in rollout.steps.iter().enumerate() {
                @let counts = &step.counts;
                tr aria-current=[(rollout.step == Some(n as u64 + 1)).then_some("step")] {
                    td.name { strong { "Step " (n + 1) } div.small { "up to " (step.step.percent) " %" } }
                    td data-label="Devices" { (words::grouped(counts.total)) }
                    td data-label="Waiting" { (words::grouped(counts.waiting)) }
                    td data-label="In flight" { (words::grouped(counts.in_flight)) }
                    td data-label="Succeeded" { (words::grouped(counts.succeeded)) }
                    td data-label="Failed" { (words::grouped(failed(counts))) }
                    td data-label="Watched" { (soak(rollout, n, &step.step.soak())) }
                }
            } }
        } }
        (reasons(failures))
        @for left_out in &rollout.left_out { p.small { (sentence(left_out)) } }
        (list(rollout, query, devices))
    }
}

fn failed(counts: &RolloutCounts) -> u64 {
    counts.failed + counts.rolled_back + counts.timed_out
}

/// The clock of the step that is being watched.
fn soak(rollout: &Rollout, step: usize, soak: &str) -> Markup {
    let here = rollout.step == Some(step as u64 + 1);
    html! {
        @match rollout.soak_until.filter(|_| here) {
            Some(until) => { "until " time datetime=(until.to_rfc3339()) { (until.format("%H:%M:%S UTC")) } }
            None if soak == "-" => { "not" }
            None => { "for " (soak) }
        }
    }
}

/// How it ended, or what it waits for.
fn verdict(rollout: &Rollout) -> Markup {
    let notice = |tone: &str, title: &str, text: &str| {
        html! { div class={ "notice " (tone) } role="status" { strong { (title) } span { (text) } } }
    };
    let why = rollout.halt_reason.as_deref().unwrap_or_default();
    match rollout.state {
        RolloutState::Halted => html! {
            (notice("bad", "It was halted", why))
            @if rollout.blocked { p.small { (rollout.version) " is blocked since: it is not offered to anybody." } }
        },
        RolloutState::Aborted => notice("warn", "It was aborted", why),
        RolloutState::Done if !why.is_empty() => notice("warn", "It is done", why),
        RolloutState::Running => html! { @if let Some(at) = rollout.window_opens_at {
            (notice("info", "Outside its hours", &format!("Nothing is offered until {}.", at.format("%Y-%m-%d %H:%M UTC"))))
        } },
        _ => html! {},
    }
}

fn buttons(rollout: &Rollout) -> Markup {
    let form = |act: &str, label: &str, class: &str| {
        html! { form method="post" action={ "/rollouts/" (rollout.id) "/" (act) } data-answer="said-rollout" { button.(class) type="submit" { (label) } } }
    };
    html! {
        div.buttons {
            @if rollout.state == RolloutState::Running { (form("pause", "Pause", "plain")) }
            @if rollout.state == RolloutState::Paused { (form("resume", "Resume", "primary")) }
            @if matches!(rollout.state, RolloutState::Running | RolloutState::Paused) { (form("abort", "Abort", "danger")) }
        }
    }
}

fn tiles(rollout: &Rollout, here: &str) -> Markup {
    let counts = &rollout.counts;
    let link = |state: &str, class: &str, count: u64, label: &str| {
        let query = if state.is_empty() { String::new() } else { format!("?state={state}") };
        html! {
            a.tile.(class) href={ "/rollouts/" (rollout.id) (query) "#devices" } aria-current=[(here == state).then_some("true")] {
                span.figure { (words::grouped(count)) } span.label { span.dot {} (label) }
            }
        }
    };
    let is_over = matches!(rollout.state, RolloutState::Halted | RolloutState::Aborted);
    let waiting = if is_over { "Not offered it" } else { "Waiting" };
    let or_quiet = |class: &'static str, count: u64| if count > 0 { class } else { "quiet" };
    html! {
        div.tiles {
            (link("", "quiet", counts.total, "All devices"))
            (link("waiting", "quiet", counts.waiting, waiting))
            (link("in_flight", or_quiet("info", counts.in_flight), counts.in_flight, "In flight"))
            (link("succeeded", or_quiet("good", counts.succeeded), counts.succeeded, "Succeeded"))
            (link("not_succeeded", or_quiet("bad", failed(counts)), failed(counts), "Failed"))
            @if counts.cancelled > 0 { (link("cancelled", "quiet", counts.cancelled, "Cancelled")) }
        }
    }
}

/// The failures by what was said of them, the most frequent first.
fn reasons(failures: &Page<RolloutDevice>) -> Markup {
    let mut groups = BTreeMap::<&str, Vec<&RolloutDevice>>::new();
    for device in &failures.items {
        groups.entry(device.reason.as_deref().unwrap_or(&device.state)).or_default().push(device);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, devices)| std::cmp::Reverse(devices.len()));
    html! {
        @if !groups.is_empty() {
            section.card { h2 { "Why it failed" } ul {
                @for (reason, devices) in groups {
                    li { strong { (devices.len()) " × " } (words::sentence(reason)) " "
                        @for device in devices.iter().take(3) { a href={ "/devices/" (device.device) } { (device.device) } " " }
                        @if devices.len() > 3 { "…" } }
                }
            } }
        }
    }
}

fn list(rollout: &Rollout, query: &RolloutDeviceQuery, devices: &Page<RolloutDevice>) -> Markup {
    let state = query.state.as_deref().unwrap_or_default();
    let href = |cursor: &str| {
        let mut address = url::form_urlencoded::Serializer::new(format!("/rollouts/{}?", rollout.id));
        if !state.is_empty() {
            address.append_pair("state", state);
        }
        address.append_pair("cursor", cursor).finish()
    };
    html! {
        section #devices.card.flush { table.rollouts {
            thead { tr { th { "Device" } th { "Step" } th { "State" } th { "Before" } th { "Why" } } }
            tbody { @for device in &devices.items { tr {
                td.name { a.id href={ "/devices/" (device.device) } { (device.device) } }
                td data-label="Step" { (device.step) }
                td data-label="State" { (device.state.replace('_', " ")) }
                td data-label="Before" { @if let Some(from) = &device.from { (from) } }
                td data-label="Why" { @if let Some(reason) = &device.reason { (words::sentence(reason)) } }
            } } }
        } }
        nav.pager aria-label="Pages" {
            @if let Some(next) = &devices.next { a.button href=(href(next)) rel="next" { "Next page" } }
        }
    }
}

/// `POST /rollouts/{n}/pause`.
pub(crate) async fn pause(
    State(rollouts): State<Rollouts>,
    visit: Visit,
    Path(number): Path<i64>,
) -> Response {
    let paused = rollouts.pause(visit.by(), number).await;
    answer(&visit, number, paused, "Paused", "Nobody more is offered it. Who is at work on it goes on.")
}

/// `POST /rollouts/{n}/resume`.
pub(crate) async fn resume(
    State(rollouts): State<Rollouts>,
    visit: Visit,
    Path(number): Path<i64>,
) -> Response {
    answer(&visit, number, rollouts.resume(visit.by(), number).await, "It goes on", "")
}

/// `POST /rollouts/{n}/abort`.
pub(crate) async fn abort(
    State(rollouts): State<Rollouts>,
    visit: Visit,
    Path(number): Path<i64>,
    fields: Fields,
) -> Response {
    let aborted = rollouts.abort(visit.by(), number, fields.text("reason")).await;
    answer(&visit, number, aborted, "Aborted", "Nothing more is sent. Who is at work on it may finish.")
}

fn answer(visit: &Visit, number: i64, done: Result<Rollout, Error>, title: &str, text: &str) -> Response {
    let said = match done {
        Ok(_) => Said::new(Tone::Info, title, text),
        Err(error) => Said::failed(error),
    };
    visit.answer(&said.about("rollout"), &format!("/rollouts/{number}"))
}
