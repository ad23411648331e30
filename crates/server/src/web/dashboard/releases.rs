//! A product's releases: what is in production, what else is published, what must never be offered.

use api::{BlockedList, BlockedVersion, Product, Release};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use contract::{ChannelName, ProductName, Version};
use maud::{Markup, html};
use serde::Deserialize;

use super::document::{PageError, copyable, empty};
use super::visit::{Section, Visit};
use super::words::{Tone, explained, sentence};
use super::{icon, words};
use crate::error::Error;
use crate::releases::Releases;
use crate::web::caller::Right;
use crate::web::extract::Path;

/// Which of the pages without a product.
#[derive(Default, Deserialize)]
pub(crate) struct Which {
    #[serde(default)]
    new: String,
}

/// `GET /releases`: the first product's page, or how to begin one.
pub(crate) async fn first(
    State(releases): State<Releases>,
    visit: Visit,
    Query(which): Query<Which>,
) -> Result<Response, PageError> {
    let products = releases.products().await?;
    if let (Some(product), true) = (products.first(), which.new.is_empty()) {
        return Ok(Redirect::to(&format!("/releases/{}", product.name)).into_response());
    }
    let content = html! {
        div.head { h1 { "Releases" } }
        (tabs(&products, None, visit.may(Right::Release)))
        (empty(
            &icon::package(),
            if products.is_empty() { "No products yet" } else { "A new product" },
            "A product begins with its first published image. Upload one here, or from your build with the command below.",
            Some("updraft publish firmware.bin --product esp32s3 --version 1.0.0 --promote"),
        ))
        @if visit.may(Right::Release) { div.centered { (upload_card(None)) } }
    };
    Ok(visit.page("Releases", Section::Releases, content).await)
}

pub(crate) async fn page(
    State(service): State<Releases>,
    visit: Visit,
    Path(product): Path<ProductName>,
) -> Result<Response, PageError> {
    let products = service.products().await.unwrap_or_default();
    let (releases, blocked) = match (service.list(&product).await, service.blocked(&product).await) {
        (Ok(releases), Ok(blocked)) => (releases, blocked),
        (Err(Error::StoreUnavailable(why)), _) | (_, Err(Error::StoreUnavailable(why))) => {
            let content = html! {
                div.head { h1 { "Releases" } }
                (tabs(&products, Some(&product), visit.may(Right::Release)))
                div.notice.bad role="alert" { strong { "The store does not answer" } span { (explained(&why)) " Devices keep what they run; nothing is offered meanwhile." } }
            };
            return Ok(visit.page("Releases", Section::Releases, content).await);
        }
        (Err(error), _) | (_, Err(error)) => return Err(error.into()),
    };
    let content = view(&visit, &product, &products, &releases, &blocked);
    Ok(visit.page(&format!("{product} releases"), Section::Releases, content).await)
}

fn view(
    visit: &Visit,
    product: &ProductName,
    products: &[Product],
    releases: &[Release],
    blocked: &BlockedList,
) -> Markup {
    let known = products.iter().find(|p| p.name == *product);
    let others =
        blocked.items.iter().filter(|b| !releases.iter().any(|r| r.version == b.version)).collect::<Vec<_>>();
    let (releasing, operates) = (visit.may(Right::Release), visit.may(Right::Operate));
    html! {
        div.head {
            div { h1 { "Releases" } p.sub { (product) @if let Some(known) = known { " · " (words::counted(known.devices, "device")) } } }
            @if releasing {
                form method="post" action={ "/releases/" (product) "/refresh" } data-answer="said-releases" {
                    button type="submit" title="Looks at the bucket now" { (icon::again()) "Look again" }
                }
            }
        }
        (tabs(products, Some(product), releasing))
        @if let Some(why) = &blocked.unreadable {
            div.notice.bad role="alert" {
                strong { "Every version is blocked" }
                span { "The blocked list cannot be read, so nothing is offered until it can: " (sentence(why)) }
                span.small { "Repair " code { (product) "/rollback/blocked_versions.json" } " in the bucket, then look again." }
            }
        }
        @if let Some(why) = known.and_then(|known| known.stale.as_ref()) {
            div.notice.bad role="alert" { strong { "This is of an earlier time" } span { "What the store holds now could not be read: " (sentence(why)) } }
        }
        (visit.said_about("releases"))
        div.columns {
            div.wide {
                (production(releases, known, blocked))
                @if releases.is_empty() {
                    section.card { (empty(&icon::package(), "Nothing published yet", "Upload an image, or publish it from your build:", Some(&format!("updraft publish firmware.bin --product {product} --version 1.0.0 --promote")))) }
                } @else { (list(visit, product, releases, blocked.unreadable.is_none())) }
            }
            div.narrow {
                @if releasing { (upload_card(Some(product))) }
                @if !others.is_empty() || operates { (others_blocked(&others, operates)) }
            }
        }
        @if operates {
            @for release in releases.iter().filter(|release| !release.blocked) { (block_dialog(product, Some(&release.version), in_production(release))) }
            (block_dialog(product, None, false))
            @for item in &blocked.items {
                (unblock_dialog(product, item, in_production_at(releases, known) == Some(&item.version)))
            }
        }
    }
}

fn tabs(products: &[Product], here: Option<&ProductName>, releasing: bool) -> Markup {
    html! {
        @if !products.is_empty() {
            nav.tabs aria-label="Products" {
                @for product in products {
                    a href={ "/releases/" (product.name) } aria-current=[(Some(&product.name) == here).then_some("page")] { (product.name) }
                }
                @if releasing { a.quiet href="/releases?new=1" aria-current=[here.is_none().then_some("page")] { (icon::plus()) "New product" } }
            }
        }
    }
}

/// The version that production points to, published or not.
fn in_production_at<'a>(releases: &'a [Release], known: Option<&'a Product>) -> Option<&'a Version> {
    let release = releases.iter().find(|release| in_production(release));
    release.map(|release| &release.version).or_else(|| known.and_then(|p| p.production.as_ref()))
}

fn production(releases: &[Release], known: Option<&Product>, blocked: &BlockedList) -> Markup {
    let release = releases.iter().find(|release| in_production(release));
    let version = in_production_at(releases, known);
    // Where the list cannot be read, the page says so above: another version would not help.
    let blocked = blocked.items.iter().find(|item| Some(&item.version) == version);
    let is_blocked = blocked.is_some() || release.is_some_and(|release| release.blocked);
    html! {
        section.card.hero {
            p.eyebrow { "In production" }
            @if let Some(version) = version {
                p.huge.version { (version) }
                p.line {
                    @if is_blocked { (words::chip(Tone::Bad, "Blocked")) }
                    @if let Some(release) = release {
                        (words::size(release.size))
                        @if let Some(chip) = &release.chip { span { (chip) } }
                        @if let Some(time) = release.published_at { span { "published " (words::ago(time)) } }
                        @else if let Some(time) = release.built_at { span { "built " (words::ago(time)) } }
                    } @else { span.small { "Not among the published releases: it was put into the bucket by hand." } }
                }
                @if let Some(blocked) = blocked {
                    @if let Some(reason) = &blocked.reason { p.reason { (sentence(reason)) } }
                    p.reason { strong { "Nothing is offered until another version is promoted." } }
                }
                @if let Some(notes) = release.and_then(|release| release.notes.as_ref()) { p.notes { (notes) } }
            } @else {
                p.huge.none { "Nothing" }
                p.small { "Devices are offered what production points to. Promote a release to begin." }
            }
        }
    }
}

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
                    a.button href={ "/releases/" (product) "/rollout?version=" (release.version) } aria-label={ "Roll out " (release.version) } { (icon::steps()) "Roll out" }
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

/// The form that publishes an image. It needs the script, since the API takes the image as it is; the command
/// line stands beside it for those without.
pub(super) fn upload_card(product: Option<&ProductName>) -> Markup {
    html! {
        section.card {
            h2 { "Publish an image" }
            form.stack.upload data-upload="/api/v1/products/{p}/releases" {
                @if let Some(product) = product { input type="hidden" name="product" value=(product); }
                @else { label { span { "Product" } input name="product" required maxlength="63" pattern="[a-z0-9][a-z0-9_\\-]{0,62}" title="lower-case letters, digits, _ or -" placeholder="esp32s3" autocapitalize="none" spellcheck="false" autocomplete="off"; } }
                label.drop {
                    (icon::upload())
                    span data-file-name data-keep { "Drop firmware.bin here, or choose it" }
                    input type="file" name="image" accept=".bin,application/octet-stream" required;
                }
                label { span { "Version" } input name="version" maxlength="64" placeholder="1.2.0" autocapitalize="none" spellcheck="false" autocomplete="off"; }
                label { span { "Notes" } textarea name="notes" rows="2" maxlength="2000" placeholder="What changed" {} }
                label.check { input type="checkbox" name="promote" value="production"; span { "Promote to production" } }
                progress.upload max="100" value="0" hidden data-keep aria-label="Upload" {}
                div #said-upload data-keep aria-live="polite" {}
                button.primary.wide type="submit" { "Publish" }
            }
            noscript { p.small { "Without JavaScript, publish from the command line:" } }
            details.small { summary { "From the command line" } (copyable(&format!("updraft publish firmware.bin --product {} --version 1.2.0", product.map_or("esp32s3", |p| p.as_str())))) }
        }
    }
}

/// Asks for the reason, and for the version where it is not known.
pub(super) fn block_dialog(product: &ProductName, version: Option<&Version>, in_production: bool) -> Markup {
    let name = version.map_or("any".to_owned(), ToString::to_string);
    let then = if in_production {
        "Production points to this version: promote another one afterwards, or nothing is offered."
    } else {
        "Devices that run it are offered what production points to."
    };
    html! {
        dialog id={ "block-" (name) } aria-labelledby={ "block-title-" (name) } {
            form.stack method="post" action={ "/releases/" (product) "/block" } data-answer="said-releases" {
                div.title {
                    h2 id={ "block-title-" (name) } { @if let Some(version) = version { "Block " (version) "?" } @else { "Block a version" } }
                    button.ghost.icon type="button" data-close aria-label="Close" { (icon::close()) }
                }
                p.lead { "It is not offered to any device again, wherever it came from. " (then) }
                @if let Some(version) = version { input type="hidden" name="version" value=(version); }
                @else { label { span { "Version" } input name="version" autofocus required maxlength="64" placeholder="1.1.0" autocapitalize="none" spellcheck="false" autocomplete="off"; } }
                label { span { "Reason" } input name="reason" autofocus[version.is_some()] required maxlength="500" placeholder="Boot loop after OTA" autocomplete="off"; }
                label.check { input type="checkbox" name="security" value="on"; span { "It has a security hole: blocking does not take back signed bytes, so the next release must have a higher secure version" } }
                div.buttons { button type="button" data-close { "Cancel" } button.danger.solid type="submit" { "Block" } }
            }
        }
    }
}

/// Asks before a version may be offered again.
pub(super) fn unblock_dialog(product: &ProductName, blocked: &BlockedVersion, in_production: bool) -> Markup {
    let version = &blocked.version;
    let then = if in_production {
        "Production points to this version: it is offered to devices again from now on."
    } else {
        "It may be promoted and offered again."
    };
    html! {
        dialog id={ "unblock-" (version) } aria-labelledby={ "unblock-title-" (version) } {
            form.stack method="post" action={ "/releases/" (product) "/unblock" } data-answer="said-releases" {
                div.title {
                    h2 id={ "unblock-title-" (version) } { "Unblock " (version) "?" }
                    button.ghost.icon type="button" data-close aria-label="Close" { (icon::close()) }
                }
                p.lead { (then) @if let Some(reason) = &blocked.reason { " It was blocked for this reason: " (sentence(reason)) } }
                input type="hidden" name="version" value=(version);
                div.buttons { button type="button" data-close autofocus { "Keep it blocked" } button.primary type="submit" { "Unblock" } }
            }
        }
    }
}
