//! What an image must be for its product, and beside its releases.

use std::collections::BTreeSet;

use cause::{Cause, Entry, gate, grouped};
use contract::{ProductName, Sha256, Version};
use image::{AppDescriptor, Header, Revision};

use crate::releases::gate::check::{Check, Level};
use crate::releases::gate::facts::{Facts, GateSettings, Production, Taken};
use crate::releases::gate::verdict::{Finding, SizeOf};
use crate::releases::publication::Publication;

/// What is known of the image under judgement, sound or not.
pub(crate) struct Look {
    pub(crate) header: Option<Header>,
    pub(crate) descriptor: Option<AppDescriptor>,
    pub(crate) size: u64,
}

impl Look {
    pub(crate) fn own(&self) -> Option<&AppDescriptor> {
        self.descriptor.as_ref().filter(|descriptor| descriptor.is_apps_own())
    }
}

pub(crate) struct Found<'a> {
    pub(crate) asked: &'a Publication,
    pub(crate) settings: &'a GateSettings,
    pub(crate) findings: Vec<Finding>,
}

impl Found<'_> {
    pub(crate) fn add(&mut self, check: Check, cause: Cause) {
        let named = self.asked.allow.contains(&check) || self.settings.allow.contains(&check);
        // Asked again here, so that no caller can hand in what must not be overruled.
        let allowed = (named && check.is_overrulable()) || check.level() == Level::Note;
        self.findings.push(Finding { check, allowed, cause });
    }
}

pub(super) fn chip(found: &mut Found<'_>, look: &Look, facts: &Facts) {
    let Some(header) = look.header else { return };
    let Some(chip) = header.chip() else {
        let cause = gate::UNKNOWN_CHIP.with("id", format!("0x{:04x}", header.chip_id));
        return found.add(Check::UnknownChip, cause);
    };
    let Some(expected) = facts.chip.as_ref().filter(|expected| *expected != chip.name()) else { return };
    let cause = gate::WRONG_CHIP.with("image", chip.name()).with("expected", expected.as_str());
    found.add(Check::WrongChip, cause.naming("product", &found.asked.product));
}

pub(super) fn size(found: &mut Found<'_>, look: &Look, facts: &Facts, trend: &[SizeOf]) {
    let Some(slot) = &facts.slot else { return };
    let sizes = |entry: Entry| {
        let cause = entry.with("size", look.size).with("slot_bytes", slot.bytes);
        cause.naming("product", &found.asked.product)
    };
    let room = u64::from(slot.bytes);
    if look.size > room {
        let cause = sizes(gate::TOO_LARGE).with("device", slot.device.clone());
        let cause = cause.with("written", slot.device.is_none().then_some("yes"));
        return found.add(Check::TooLarge, cause);
    }
    let percent = look.size.saturating_mul(100) / room.max(1);
    if percent < u64::from(found.settings.warn_percent) {
        return;
    }
    let of = |SizeOf { version, size }: &SizeOf| {
        format!("{} {}", version.as_ref().map_or("this one", Version::as_str), grouped(*size))
    };
    let before = if trend.len() > 1 { trend } else { &[] };
    let history: Vec<String> = before.iter().map(of).collect();
    let cause = sizes(gate::NEARLY_FULL).with("percent", percent).with("history", history);
    found.add(Check::NearlyFull, cause);
}

/// Whether as many keys signed it as the product wants of those that it trusts. A product that trusts none takes any.
pub(super) fn keys(found: &mut Found<'_>, signers: &[Sha256], facts: &Facts) {
    let trusted = &facts.trusted_keys;
    let required = usize::from(facts.signatures_required.max(1));
    // A key that signed twice counts once.
    let distinct: BTreeSet<_> = signers.iter().filter(|key| trusted.contains(key)).collect();
    let count = distinct.len();
    if trusted.is_empty() || count >= required {
        return;
    }
    let several = |keys: &[Sha256]| (keys.len() > 1).then_some("yes");
    let list = |keys: &[Sha256]| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (check, cause) = if signers.is_empty() {
        (Check::Unsigned, gate::UNSIGNED.cause())
    } else if count > 0 {
        let cause = gate::TOO_FEW_SIGNATURES.with("count", count).with("required", required);
        (Check::TooFewSignatures, cause.with("signers", list(signers)))
    } else {
        let cause = gate::UNTRUSTED_KEY.with("several_signers", several(signers));
        (Check::UntrustedKey, cause.with("signers", list(signers)))
    };
    let cause = cause.naming("product", &found.asked.product);
    found.add(check, cause.with("several", several(trusted)).with("trusted", list(trusted)));
}

/// The version that a project gave its image.
pub(super) fn said_version(own: &AppDescriptor) -> Option<Version> {
    own.own_version()?.parse().ok()
}

/// Which version it is, and what the image itself says of that.
pub(super) fn version(found: &mut Found<'_>, look: &Look, version: Option<&Version>, is_sound: bool) {
    let (product, asked) = (&found.asked.product, &found.asked.version);
    if let Some(asked) = asked.as_ref().filter(|asked| !asked.is_semver()) {
        return found.add(Check::NoVersion, gate::NOT_SEMVER.naming("version", asked));
    }
    if let Some(requires) = found.asked.requires.as_ref().filter(|requires| requires.is_opaque()) {
        return found.add(Check::NoVersion, gate::REQUIRES_A_NAME.naming("requires", requires));
    }
    let Some(own) = look.own() else {
        let whose = |entry: Entry| match &look.descriptor {
            None => entry.with("missing", "yes"),
            Some(descriptor) if descriptor.project_name().is_empty() => entry.with("empty", "yes"),
            Some(descriptor) => entry.naming("library", descriptor.project_name().escape_debug()),
        };
        match asked {
            None if is_sound => found.add(Check::NoVersion, whose(gate::NO_VERSION)),
            Some(version) if look.header.is_some() => {
                let cause = whose(gate::DESCRIPTOR).naming("product", product).naming("version", version);
                found.add(Check::Descriptor, cause);
            }
            _ => {}
        }
        return;
    };
    if own.is_stamped() {
        let is_other = own.project_name() != product.as_str()
            || asked.as_ref().is_some_and(|asked| own.version().parse().as_ref() != Ok(asked));
        if is_other {
            let says = format!("{} {}", own.project_name(), own.version()).escape_debug().to_string();
            let cause = gate::STAMPED_OTHERWISE.naming("product", product).with("says", says);
            let version =
                version.map_or_else(|| own.version().escape_debug().to_string(), ToString::to_string);
            found.add(Check::Stamp, cause.with("version", version));
        }
        return;
    }
    let says = |entry: Entry| entry.naming("says", own.version().escape_debug());
    match asked {
        None if version.is_none() && is_sound => {
            let why = match own.own_version() {
                None => "ESP-IDF writes that where a project says none",
                Some(_) => "a release has a SemVer version, such as 1.2.0",
            };
            found.add(Check::NoVersion, says(gate::NO_SUCH_VERSION).with("why", why));
        }
        Some(asked) if own.own_version().is_some() && said_version(own).as_ref() != Some(asked) => {
            found.add(Check::VersionMismatch, says(gate::VERSION_MISMATCH).naming("version", asked));
        }
        _ => {}
    }
}

/// Whether the version or the bytes are there already.
pub(super) fn releases(found: &mut Found<'_>, version: Option<&Version>, facts: &Facts) {
    let product = &found.asked.product;
    match &facts.taken {
        Taken::OtherBytes(spelled) => found.add(Check::VersionTaken, taken(product, spelled)),
        Taken::ByProduction(spelled) => {
            let cause = gate::TAKEN_BY_PRODUCTION.naming("version", spelled);
            found.add(Check::VersionTaken, cause.naming("product", product));
        }
        Taken::Free | Taken::SameBytes(_) => {}
    }
    if let Some(cause) = &facts.blocked {
        found.add(Check::BlockedBytes, cause.clone());
    }
    if let Some(twin) = facts.twins.first() {
        let cause = gate::SAME_BYTES.naming("twin", twin).with("version", version.map(Version::as_str));
        found.add(Check::SameBytes, cause.with("unnamed", version.is_none().then_some("yes")));
    }
}

/// Why a version that exists is not published with other bytes.
pub(crate) fn taken(product: &ProductName, spelled: &Version) -> Cause {
    gate::TAKEN.naming("version", spelled).naming("product", product)
}

/// Whether it is as secure as the product wants, since a release was blocked for its security.
pub(super) fn floor(found: &mut Found<'_>, look: &Look, facts: &Facts) {
    let now = look.descriptor.as_ref().map_or(0, AppDescriptor::secure_version);
    if look.header.is_some() && now < facts.secure_version {
        let cause = gate::SECURE_FLOOR.with("now", now).with("floor", facts.secure_version);
        found.add(Check::SecureFloor, cause.naming("product", &found.asked.product));
    }
}

/// What differs from the release that runs.
pub(super) fn production(found: &mut Found<'_>, look: &Look, version: Option<&Version>, facts: &Facts) {
    let Some(running) = &facts.production else { return };
    if let Some(version) = version.filter(|version| version.is_below(&running.version)) {
        let cause = gate::LOWER_VERSION.naming("production", &running.version);
        found.add(Check::LowerVersion, cause.naming("version", version));
    }
    if let (Some(header), Some(before)) = (look.header, running.header) {
        let (now, was) = (mode(header), mode(before));
        if now != was {
            found.add(Check::FlashMode, differs(gate::FLASH_MODE, running, now, was));
        }
        let now = (header.min_chip_revision, header.max_chip_revision);
        let was = (before.min_chip_revision, before.max_chip_revision);
        narrowed(found, (Check::ChipRevision, gate::CHIP_REVISION), running, now, was);
    }
    let (Some(now), Some(was)) = (&look.descriptor, &running.descriptor) else { return };
    if now.secure_version() < was.secure_version() {
        let (now, was) = (now.secure_version().to_string(), was.secure_version().to_string());
        found.add(Check::SecureVersion, differs(gate::SECURE_VERSION, running, now, was));
    }
    let efuse = |of: &AppDescriptor| (of.min_efuse_block_revision(), of.max_efuse_block_revision());
    narrowed(found, (Check::EfuseRevision, gate::EFUSE_REVISION), running, efuse(now), efuse(was));
    let pages = |of: &AppDescriptor| pages(of).to_string();
    if pages(now) != pages(was) {
        found.add(Check::MmuPageSize, differs(gate::MMU_PAGE_SIZE, running, pages(now), pages(was)));
    }
    let project =
        |of: &AppDescriptor| Some(of.project_name().escape_debug().to_string()).filter(|_| of.is_apps_own());
    if let (Some(now), Some(was)) = (project(now), project(was))
        && now != was
    {
        found.add(Check::Project, differs(gate::OTHER_PROJECT, running, now, was));
    }
    let (now, was) = (now.idf_version(), was.idf_version());
    if now != was && !now.is_empty() && !was.is_empty() {
        let (now, was) = (now.escape_debug().to_string(), was.escape_debug().to_string());
        found.add(Check::IdfVersion, differs(gate::IDF_VERSION, running, now, was));
    }
}

/// Whether fewer devices start it than what runs: only from a higher revision on, or only up to a lower one.
fn narrowed(
    found: &mut Found<'_>,
    (check, entry): (Check, Entry),
    running: &Production,
    now: (Revision, Revision),
    was: (Revision, Revision),
) {
    let highest = |(_, max): (Revision, Revision)| if max.is_bound() { max } else { Revision(u16::MAX) };
    let range = |range: (Revision, Revision)| match range {
        (min, max) if max.is_bound() => format!("{min} to {max}"),
        (min, _) => format!("{min} and higher"),
    };
    if now.0 > was.0 || highest(now) < highest(was) {
        found.add(check, differs(entry, running, range(now), range(was)));
    }
}

/// Bytes of a page of the flash cache; an older build does not say, and means 64 KiB.
fn pages(descriptor: &AppDescriptor) -> u32 {
    match descriptor.mmu_page_size_log2() {
        0 => 1 << 16,
        log2 => 1 << (log2 & 31),
    }
}

fn differs(entry: Entry, running: &Production, now: String, was: String) -> Cause {
    entry.naming("production", &running.version).with("now", now).with("was", was)
}

fn mode(header: Header) -> String {
    let code = header.flash_mode_code;
    header.flash_mode().map_or_else(|| format!("0x{code:02x}"), str::to_owned)
}
