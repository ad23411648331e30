//! The form that publishes an image, and what is asked before a version is blocked or unblocked.

use api::BlockedVersion;
use contract::{ProductName, Version};
use maud::{Markup, html};

use super::document::copyable;
use super::icon;
use super::words::sentence;

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
