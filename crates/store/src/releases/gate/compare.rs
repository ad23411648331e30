//! What an image must be for its product, and beside its releases.

use contract::{Sha256, Version};

use cause::grouped;

use crate::releases::gate::check::Check;
use crate::releases::gate::facts::{Facts, Production, Taken};
use crate::releases::gate::look::{Found, Look};
use crate::releases::gate::verdict::SizeOf;
use crate::releases::gate::{signers, sound};

/// What ESP-IDF writes into a descriptor where a project says no version.
const NO_VERSION: &str = "1";

pub(super) fn chip(found: &mut Found<'_>, look: &Look, facts: &Facts) {
    let Some(header) = look.header else { return };
    let product = &found.asked.product;
    let Some(chip) = header.chip() else {
        let sentence = format!(
            "the image is for a chip that this Updraft does not know (id 0x{:04x}); a newer Updraft may know \
             it",
            header.chip_id
        );
        return found.add(Check::UnknownChip, sentence);
    };
    let Some(expected) = facts.chip.as_ref().filter(|expected| *expected != chip.name()) else { return };
    let sentence = format!(
        "the image is for {}, but the devices of {product} are {expected}; build it for {expected}, or publish it for \
         another product",
        chip.name()
    );
    found.add(Check::WrongChip, sentence);
}

pub(super) fn size(found: &mut Found<'_>, look: &Look, facts: &Facts, trend: &[SizeOf]) {
    let Some(slot) = &facts.slot else { return };
    let product = &found.asked.product;
    let room = u64::from(slot.bytes);
    if look.size > room {
        return found.add(Check::TooLarge, sound::too_large(look.size, product, slot));
    }
    let percent = look.size.saturating_mul(100) / room.max(1);
    if percent < u64::from(found.settings.warn_percent) {
        return;
    }
    let sizes: Vec<String> = trend
        .iter()
        .map(|SizeOf { version, size }| {
            let version = version.as_ref().map_or("this one", Version::as_str);
            format!("{version} {}", grouped(*size))
        })
        .collect();
    let history =
        if sizes.len() > 1 { format!(" (bytes so far: {})", sizes.join(", ")) } else { String::new() };
    let sentence = format!(
        "the image fills {percent} % of the smallest slot of {product}: {} of {} bytes{history}; slots cannot be \
         enlarged over the air, so make room before it is full",
        grouped(look.size),
        grouped(room)
    );
    found.add(Check::NearlyFull, sentence);
}

pub(super) fn keys(found: &mut Found<'_>, signed_by: &[Sha256], facts: &Facts) {
    if let Some((check, sentence)) = signers::lacking(&found.asked.product, &facts.trusted_keys, signed_by) {
        found.add(check, sentence);
    }
}

/// Which version it is, and what the image itself says of that.
pub(super) fn version(found: &mut Found<'_>, look: &Look, version: Option<&Version>, is_sound: bool) {
    let (product, asked) = (&found.asked.product, &found.asked.version);
    let Some(own) = look.own() else {
        let whose =
            look.descriptor.as_ref().map(|descriptor| descriptor.project_name().escape_debug().to_string());
        let whose = match whose.as_deref() {
            Some("") => "an empty descriptor, as some builds of the Arduino core leave it".to_owned(),
            Some(name) => format!(
                "the descriptor of the library that it links (\"{name}\"), as Arduino and PlatformIO builds do"
            ),
            None => "no application descriptor".to_owned(),
        };
        match asked {
            None if is_sound => found.add(
                Check::NoVersion,
                format!(
                    "the image does not carry a version of its own: it has {whose}; say which one it is with --version"
                ),
            ),
            Some(version) if look.header.is_some() => found.add(
                Check::Descriptor,
                format!(
                    "the image has {whose}, so nothing in it confirms that it is {product} {version}, as --version \
                     says; nothing is to be done: `--allow descriptor`, or \"descriptor\" in gate.allow of product.json, \
                     silences this"
                ),
            ),
            _ => {}
        }
        return;
    };
    let says = own.version();
    match (asked, says.parse::<Version>()) {
        (None, Err(error)) if version.is_none() && is_sound => found.add(
            Check::NoVersion,
            format!(
                "the image calls its version \"{}\", but {error}; say which one it is with --version",
                says.escape_debug()
            ),
        ),
        (Some(asked), own) if own.as_ref() != Ok(asked) && says != NO_VERSION => found.add(
            Check::VersionMismatch,
            format!(
                "the image calls its version \"{}\", and it is published as {asked}: a device that reports what its \
                 image says will not be seen to run {asked}; build it with {asked} as its version, or publish it under the \
                 one that it says",
                says.escape_debug()
            ),
        ),
        _ => {}
    }
}

/// Whether the version or the bytes are there already.
pub(super) fn releases(found: &mut Found<'_>, version: Option<&Version>, facts: &Facts) {
    let product = &found.asked.product;
    match &facts.taken {
        Taken::OtherBytes(spelled) => {
            found.add(Check::VersionTaken, taken_sentence(product, spelled, None));
        }
        Taken::Overtaken { by, overtaken } => {
            found.add(Check::VersionTaken, taken_sentence(product, by, Some(overtaken)));
        }
        Taken::ByProduction(spelled) => {
            let sentence = format!(
                "{spelled} is in production of {product} with other bytes, put there by another program, and a version \
                 never changes; publish this image under a higher version"
            );
            found.add(Check::VersionTaken, sentence);
        }
        Taken::Free | Taken::SameBytes(_) => {}
    }
    if let Some(twin) = facts.twins.first() {
        let called = version.map_or_else(|| "another version".to_owned(), ToString::to_string);
        let sentence = format!(
            "these very bytes are published as {twin} already; as {called} they would be one image with two names, and \
             devices that run {twin} would be offered what they have: was the new one built?"
        );
        found.add(Check::SameBytes, sentence);
    }
}

/// Why a version that exists is not published with other bytes. `overtaken` is a spelling of it that is there too and does
/// not count.
pub(crate) fn taken_sentence(
    product: &contract::ProductName,
    spelled: &Version,
    overtaken: Option<&Version>,
) -> String {
    let mut sentence = format!(
        "version {spelled} of {product} is already published with other bytes, and a published version never changes; \
         publish this image under a higher version"
    );
    if let Some(overtaken) = overtaken {
        sentence = format!(
            "{sentence} ({overtaken} is there too: its publisher was so slow that {spelled} had been published meanwhile, \
             and a version must be one image; see `updraft releases -p {product}`, and remove the version.txt of {overtaken})"
        );
    }
    sentence
}

/// What differs from the release that runs.
pub(super) fn production(found: &mut Found<'_>, look: &Look, version: Option<&Version>, facts: &Facts) {
    let Some(running) = &facts.production else { return };
    if let Some(version) = version.filter(|version| **version < running.version) {
        let sentence = format!(
            "production is {} already, and {version} is lower; publish it under a higher version",
            running.version
        );
        found.add(Check::LowerVersion, sentence);
    }
    if let (Some(header), Some(before)) = (look.header, running.header) {
        let (now, was) = (mode(header), mode(before));
        if now != was {
            let sentence = format!(
                "the image wants flash mode {now}, and {} in production has {was}: a bootloader or flash chip in the \
                 field that cannot do {now} does not start it; build it with {was}, or try it on one device of every \
                 kind",
                running.version
            );
            found.add(Check::FlashMode, sentence);
        }
    }
    descriptors(found, look, running);
}

fn descriptors(found: &mut Found<'_>, look: &Look, running: &Production) {
    let (Some(now), Some(was)) = (&look.descriptor, &running.descriptor) else { return };
    if now.secure_version() < was.secure_version() {
        let sentence = format!(
            "the image's secure version is {}, and that of {} in production is {}: a device that has burnt {} into its \
             fuses never starts it; raise CONFIG_BOOTLOADER_APP_SECURE_VERSION",
            now.secure_version(),
            running.version,
            was.secure_version(),
            was.secure_version()
        );
        found.add(Check::SecureVersion, sentence);
    }
    if now.idf_version() != was.idf_version()
        && !now.idf_version().is_empty()
        && !was.idf_version().is_empty()
    {
        let sentence = format!(
            "the image is built with ESP-IDF {}, and {} in production with {}: the bootloader in the field stays as it \
             is, and may not start an image of another ESP-IDF; try it on one device first",
            now.idf_version().escape_debug(),
            running.version,
            was.idf_version().escape_debug()
        );
        found.add(Check::IdfVersion, sentence);
    }
}

fn mode(header: image::Header) -> String {
    let code = header.flash_mode_code;
    header.flash_mode().map_or_else(|| format!("0x{code:02x}"), |mode| mode.name().to_owned())
}
