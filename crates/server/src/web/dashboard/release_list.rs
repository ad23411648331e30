//! The list of a product's releases, and of what is blocked besides.

use contract::{ChannelName, ProductName, Version};
use maud::{Markup, html};

use super::tone::Tone;
use super::visit::Visit;
use super::{icon, words};
use crate::web::right::Right;
use api::{BlockedVersion, Release};

/// Whether production points to it.
pub(super) fn in_production(release: &Release) -> bool {
    release.channels.iter().any(|channel| *channel == ChannelName::production())
}

pub(super) fn list(visit: &Visit, product: &ProductName, releases: &[Release], readable: bool) -> Markup {
    html! {
        section.card.flush {
            div.cardhead { h2 { "Published" } span.small { (words::counted(releases.len() as u64, "release")) } }
            ol.releases {
                @for (place, release) in releases.iter().enumerate() {
                    (item(visit, product, release, releases.get(place + 1), readable))
                }
            }
        }
    }
}

/// Nothing can be unblocked while the list is not `readable`.
fn item(
    visit: &Visit,
    product: &ProductName,
    release: &Release,
    previous: Option<&Release>,
    readable: bool,
) -> Markup {
    html! {
        li id={ "release-" (release.version) } class=[release.blocked.then_some("blocked")] {
            div.what {
                p.line {
                    span.version.big { (release.version) }
                    @for channel in &release.channels { (words::chip(Tone::Good, channel)) }
                    @if release.blocked { (words::chip(Tone::Bad, "Blocked")) }
                }
                @if release.blocked { p.reason { (release.reason.as_deref().unwrap_or("Nobody said why.")) } }
                @if let Some(notes) = &release.notes { p.notes { (notes) } }
                p.line.small {
                    (words::size(release.size)) (trend(release, previous))
                    @if let Some(chip) = &release.chip { span { (chip) } }
                    @if let Some(time) = release.published_at.or(release.built_at) { (words::ago(time)) }
                    @if let Some(tag) = &release.tag { code.digest { (tag) } }
                    @if let Some(commit) = &release.commit { code.digest title=(commit) { (commit.chars().take(8).collect::<String>()) @if release.dirty == Some(true) { "-dirty" } } }
                    @if let Some(digest) = release.sha256 { code.digest title={ "SHA-256 " (digest) } { (&digest.to_hex()[..8]) "…" } }
                }
            }
            div.actions {
                @if visit.may(Right::Release) && !release.blocked && !in_production(release) {
                    form method="post" action={ "/releases/" (product) "/promote" } data-answer="said-releases" {
                        input type="hidden" name="version" value=(release.version);
                        button type="submit" aria-label={ "Promote " (release.version) " to production" } { (icon::upward()) "Promote" }
                    }
                }
                @if visit.may(Right::Operate) {
                    @if release.blocked { @if readable { (unblock_button(&release.version)) } }
                    @else { button.danger type="button" data-open={ "block-" (release.version) } aria-label={ "Block " (release.version) } { "Block…" } }
                }
            }
        }
    }
}

fn unblock_button(version: &Version) -> Markup {
    html! { button type="button" data-open={ "unblock-" (version) } aria-label={ "Unblock " (version) } { "Unblock…" } }
}

/// How much larger or smaller than the release before.
#[allow(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn trend(release: &Release, previous: Option<&Release>) -> Markup {
    let Some(before) = previous.filter(|previous| previous.size > 0) else { return html! {} };
    let change = (release.size as f64 - before.size as f64) / before.size as f64 * 100.0;
    let title = format!("{} was {} bytes", before.version, words::grouped(before.size));
    html! {
        span.trend.number title=(title) {
            @if change.abs() < 0.05 { "same size" } @else { (format!("{change:+.1} %").replace('-', "−")) }
        }
    }
}

pub(super) fn others_blocked(others: &[&BlockedVersion], operates: bool) -> Markup {
    html! {
        section.card {
            h2 { "Blocked ahead" }
            p.small { "Versions that are not published here and shall never be offered." }
            @if !others.is_empty() {
                ul.ahead {
                    @for blocked in others {
                        li {
                            div { span.version.strong { (blocked.version) } @if let Some(reason) = &blocked.reason { p.reason { (reason) } } }
                            @if operates { (unblock_button(&blocked.version)) }
                        }
                    }
                }
            }
            @if operates { button.wide type="button" data-open="block-any" { "Block a version…" } }
        }
    }
}
