//! Rollouts: the list, and the form that begins one, with what it would do.

use api::{LeftOut, NewRollout, Product, Rollout, RolloutPreview, RolloutState, Selector, Step, Window};
use axum::extract::{Query, State};
use axum::response::Response;
use contract::{ProductName, Version};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

use super::document::{PageError, empty};
use super::visit::{Said, Section, Visit};
use super::words::{Tone, counted};
use super::{icon, words};
use crate::releases::Releases;
use crate::updates::Rollouts;
use crate::web::caller::Right;
use crate::web::extract::{Fields, Path};
use crate::web::problem::Problem;

const ROWS: u32 = 50;
/// What the form offers at first.
const STEPS: &str = "1:10m, 10:1h, 100";

#[derive(Default, Deserialize)]
pub(crate) struct Part {
    cursor: Option<String>,
}

/// `GET /rollouts`.
pub(crate) async fn page(
    State(rollouts): State<Rollouts>,
    State(releases): State<Releases>,
    visit: Visit,
    Query(part): Query<Part>,
) -> Result<Response, PageError> {
    let list = rollouts.list(None, part.cursor.as_deref(), Some(ROWS)).await?;
    let products = releases.products().await.unwrap_or_default();
    let operates = visit.may(Right::Operate);
    let content = html! {
        div.head {
            div { h1 { "Rollouts" } p.sub { "Versions on their way to the fleet, the newest first" } }
            @if operates && !products.is_empty() { (new_links(&products)) }
        }
        (visit.said_about("rollouts"))
        @if list.items.is_empty() {
            (empty(&icon::steps(), "No rollouts yet", "A rollout gives a release to a few devices first, watches them, and stops by itself if they fail.", operates.then_some("updraft rollout start 1.2.0 -p esp32s3 --steps 1:10m,10:1h,100")))
        } @else {
            div.card.flush { table.rollouts {
                thead { tr { th { "Rollout" } th { "Version" } th { "State" } th { "Step" } th { "Devices" } th { "Began" } } }
                tbody { @for rollout in &list.items { (row(rollout)) } }
            } }
            nav.pager aria-label="Pages" {
                @if part.cursor.is_some() { a.button href="/rollouts" { "Newest" } }
                @if let Some(next) = &list.next { a.button href={ "/rollouts?cursor=" (next) } rel="next" { "Older" } }
            }
        }
    };
    Ok(visit.page("Rollouts", Section::Rollouts, content).await)
}

fn new_links(products: &[Product]) -> Markup {
    html! { div.buttons { @for product in products {
        a.button href={ "/releases/" (product.name) "/rollout" } { (icon::plus()) "New rollout of " (product.name) }
    } } }
}

fn row(rollout: &Rollout) -> Markup {
    let counts = &rollout.counts;
    let failed = counts.failed + counts.rolled_back + counts.timed_out;
    html! {
        tr {
            td.name { a.id href={ "/rollouts/" (rollout.id) } { "Rollout " (rollout.id) } div.small { (rollout.product) } }
            td data-label="Version" { span.version.strong { (rollout.version) } }
            td data-label="State" {
                (state(&rollout.state))
                @if let Some(why) = &rollout.halt_reason { div.small { (why) } }
            }
            td data-label="Step" { @if let Some(step) = rollout.step { (step) " of " (rollout.steps.len()) } }
            td data-label="Devices" {
                (counts.succeeded) " of " (counted(counts.total, "device"))
                @if failed > 0 { ", " (failed) " failed" }
            }
            td data-label="Began" { @if let Some(at) = rollout.created_at { (words::ago(at)) } div.small { (rollout.created_by) } }
        }
    }
}

pub(super) fn state(state: &RolloutState) -> Markup {
    let (word, tone) = match state {
        RolloutState::Running => ("Running", Tone::Info),
        RolloutState::Paused => ("Paused", Tone::Warn),
        RolloutState::Halted => ("Halted", Tone::Bad),
        RolloutState::Aborted => ("Aborted", Tone::Warn),
        RolloutState::Done => ("Done", Tone::Good),
        RolloutState::Other(word) => (word.as_str(), Tone::Info),
    };
    words::chip(tone, word)
}

/// `GET /releases/{product}/rollout`: the form.
pub(crate) async fn form(
    State(releases): State<Releases>,
    visit: Visit,
    Path(product): Path<ProductName>,
    Query(fields): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let list = releases.list(&product).await?;
    let chosen = fields.iter().find(|(name, _)| name == "version").map(|(_, value)| value.as_str());
    let content = html! {
        div.head { div { h1 { "New rollout" } p.sub { (product) } } }
        (visit.said_about("rollouts"))
        form.card.stack method="post" action={ "/releases/" (product) "/rollout" } data-answer="said-rollouts" {
            label { span { "Version" } select name="version" required {
                @for release in list.iter().filter(|release| !release.blocked) {
                    option value=(release.version) selected[chosen == Some(release.version.as_str())] { (release.version) }
                }
            } }
            label { span { "Steps: percent of the devices, and how long each is watched" } input name="steps" value=(STEPS) required autocomplete="off"; }
            label { span { "Only in this group" } input name="group" autocomplete="off"; }
            label { span { "Only with this tag" } input name="tag" autocomplete="off"; }
            label { span { "Only running a version in this range" } input name="versions" placeholder=">=1.0.0, <1.2.0" autocomplete="off"; }
            label { span { "Devices at work at once, at most" } input name="max_in_flight" inputmode="numeric" placeholder="500"; }
            label { span { "Only in these hours" } input name="window" placeholder="01:00-05:00" autocomplete="off"; }
            label { span { "of this time zone" } input name="tz" placeholder="Europe/Berlin" autocomplete="off"; }
            label.check { input type="checkbox" name="no_block" value="yes"; span { "Leave the version unblocked if the rollout stops by itself" } }
            label.check { input type="checkbox" name="no_promote" value="yes"; span { "Leave production as it is once it is done" } }
            p.lead { "It stops by itself once it is clear that more fail than the tolerated 3 %, and after three devices if it fails on each of them." }
            div.buttons {
                button type="submit" name="act" value="preview" { "Preview" }
                button.primary type="submit" name="act" value="start" { "Start rollout" }
            }
        }
    };
    Ok(visit.page("New rollout", Section::Rollouts, content).await)
}

/// `POST /releases/{product}/rollout`: begins it, or says what it would do.
pub(crate) async fn start(
    State(rollouts): State<Rollouts>,
    visit: Visit,
    Path(product): Path<ProductName>,
    fields: Fields,
) -> Response {
    let back = format!("/releases/{product}/rollout");
    let asked = match asked(&fields) {
        Ok(asked) => asked,
        Err(problem) => return visit.answer(&Said::failed(problem).about("rollouts"), &back),
    };
    if fields.text("act") == Some("preview") {
        let said = match rollouts.preview(&product, &asked).await {
            Ok(preview) => Said::new(Tone::Info, "Nothing is sent yet", summary(&preview)),
            Err(error) => Said::failed(error),
        };
        return visit.answer(&said.about("rollouts"), &back);
    }
    match rollouts.start(visit.by(), &product, &asked).await {
        Ok(rollout) => {
            let said = Said::new(Tone::Good, "It has begun", format!("Rollout {} runs.", rollout.id));
            visit.go(&said.about("rollout"), &format!("/rollouts/{}", rollout.id))
        }
        Err(error) => visit.answer(&Said::failed(error).about("rollouts"), &back),
    }
}

/// How many in each step, and who is left out and why.
fn summary(preview: &RolloutPreview) -> String {
    let sizes: Vec<_> =
        preview.steps.iter().enumerate().map(|(n, devices)| format!("step {}: {devices}", n + 1)).collect();
    let mut text = format!(
        "It would give the version to {}, of which {} online now ({}).",
        counted(preview.devices, "device"),
        preview.online,
        sizes.join(", ")
    );
    for left_out in &preview.left_out {
        text = format!("{text} {}", sentence(left_out));
    }
    text
}

pub(super) fn sentence(left_out: &LeftOut) -> String {
    let names: Vec<&str> = left_out.examples.iter().map(contract::DeviceId::as_str).collect();
    let more = if left_out.devices > names.len() as u64 { ", …" } else { "" };
    let count = counted(left_out.devices, "device");
    format!("Left out: {count} ({}{more}): {}", names.join(", "), left_out.reason)
}

fn asked(fields: &Fields) -> Result<NewRollout, Problem> {
    let version: Version = fields.valid("version")?;
    let text = |name| fields.text(name).map(str::to_owned);
    let window = fields.text("window").map(|hours| {
        let (from, to) = hours.split_once('-').unwrap_or((hours, ""));
        let window = json!({"from": from.trim(), "to": to.trim(), "tz": fields.text("tz").unwrap_or("UTC")});
        serde_json::from_value::<Window>(window).map_err(|error| Problem::invalid(error.to_string()))
    });
    Ok(NewRollout {
        version,
        steps: fields.text("steps").map(Step::parse_all).transpose().map_err(Problem::invalid)?,
        selector: Selector {
            groups: text("group").into_iter().collect(),
            tags: text("tag").into_iter().collect(),
            versions: text("versions"),
            ..Selector::default()
        },
        max_in_flight: fields.optional("max_in_flight")?,
        halt_at: None,
        block_on_halt: fields.text("no_block").map(|_| false),
        promote: fields.text("no_promote").map(|_| false),
        update_timeout_s: None,
        expires_at: None,
        window: window.transpose()?,
        dry_run: false,
    })
}
