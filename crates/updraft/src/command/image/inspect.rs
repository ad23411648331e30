//! What `updraft image inspect` says of a sound image, to people and to programs.

use std::path::Path;

use ::image::{AppDescriptor, Summary};
use contract::Sha256;
use serde_json::{Value, json};
use store::grouped;

use super::signatures::Found;
use crate::output::painted;

const NAME_WIDTH: usize = 13;

pub(super) fn text(path: &Path, summary: &Summary, signatures: &[Found], colour: bool) -> String {
    let mut page = Page { text: String::new(), colour };
    page.heading(&path.display().to_string());
    identity(&mut page, summary);
    page.blank();
    application(&mut page, summary.descriptor.as_ref());
    page.blank();
    requirements(&mut page, summary);
    page.blank();
    soundness(&mut page, summary, signatures);
    page.blank();
    segments(&mut page, summary);
    page.text
}

fn identity(page: &mut Page, summary: &Summary) {
    let chip = match summary.chip() {
        Some(chip) => chip.title().to_owned(),
        None => format!("unknown (id {})", summary.header.chip_id),
    };
    page.line("Chip", &chip);
    page.line("Size", &size(summary.total_bytes));
    page.line("SHA-256", &Sha256(summary.sha256).to_string());
    if let Some(demo) = &summary.demo {
        page.line("Demo image", &format!("version {}, {}", printable(demo.version()), demo.behaviour()));
    }
}

fn application(page: &mut Page, descriptor: Option<&AppDescriptor>) {
    let Some(descriptor) = descriptor else {
        page.line("Project", &page.faint("none: the image has no application descriptor"));
        return;
    };
    page.line("Project", &page.or_none(descriptor.project_name()));
    page.line("Version", &page.or_none(descriptor.version()));
    if descriptor.is_stamped() {
        page.line("", &page.good("stamped: the image says itself what it is"));
    }
    if !descriptor.is_apps_own() {
        let says = if descriptor.project_name().is_empty() && descriptor.version().is_empty() {
            "the build left them empty, as some Arduino builds do: publish with --version, or stamp it"
        } else {
            "those of a library in the build, as with Arduino: publish with --version, or stamp it"
        };
        page.line("", &page.warning(says));
    }
    page.line("ESP-IDF", &page.or_none(descriptor.idf_version()));
    page.line("Built", &page.or_none(&built(descriptor)));
    let elf = descriptor.elf_sha256().map(|hash| Sha256(hash).to_string()).unwrap_or_default();
    page.line("ELF SHA-256", &page.or_none(&elf));
}

fn requirements(page: &mut Page, summary: &Summary) {
    let header = &summary.header;
    let revisions = range(header.min_chip_revision, header.max_chip_revision);
    page.line("Chip rev.", &revisions);
    if let Some(descriptor) = &summary.descriptor {
        let efuse = range(descriptor.min_efuse_block_revision(), descriptor.max_efuse_block_revision());
        page.line("eFuse rev.", &efuse);
        page.line("Secure ver.", &descriptor.secure_version().to_string());
        if descriptor.mmu_page_size_log2() != 0 && descriptor.mmu_page_size_log2() < 32 {
            page.line("MMU page", &format!("{} KiB", (1_u64 << descriptor.mmu_page_size_log2()) / 1024));
        }
    }
    let unknown = |code: u8| format!("unknown (code {code:#x})");
    let mode = header
        .flash_mode()
        .map_or_else(|| unknown(header.flash_mode_code), |mode| mode.to_uppercase().replace('_', " "));
    let code = header.flash_size_frequency_code;
    let flash_size = header.flash_size_mib().map_or_else(|| unknown(code >> 4), |mib| format!("{mib} MiB"));
    let frequency =
        header.flash_frequency_mhz().map_or_else(|| unknown(code & 15), |mhz| format!("{mhz} MHz"));
    page.line("Flash", &format!("{flash_size}, {mode}, {frequency}"));
}

fn soundness(page: &mut Page, summary: &Summary, signatures: &[Found]) {
    page.line("Checksum", &format!("{} (0x{:02x})", page.good("ok"), summary.checksum));
    let digest = if summary.header.hash_appended {
        page.good("ok")
    } else {
        page.warning("none appended: only the checksum guards this image")
    };
    page.line("Digest", &digest);
    if signatures.is_empty() {
        page.line("Signature", &page.faint("none"));
    }
    for (index, found) in signatures.iter().enumerate() {
        let sentence = found.sentence();
        let sentence = if found.is_good() { page.good(&sentence) } else { page.warning(&sentence) };
        page.line(if index == 0 { "Signature" } else { "" }, &sentence);
    }
}

fn segments(page: &mut Page, summary: &Summary) {
    let head = format!("{:>2}  {:>10}  {:>10}  {:>9}  memory", "#", "loaded at", "in file at", "bytes");
    page.raw(&page.faint(&head));
    for (index, segment) in summary.segments.iter().enumerate() {
        let memory = summary.region(segment).map_or_else(
            || "unknown".to_owned(),
            |region| format!("{region:<9}  {}", page.faint(region.title())),
        );
        let address = format!("0x{:08x}", segment.load_address);
        let offset = format!("0x{:x}", segment.offset);
        let bytes = grouped(segment.length_bytes.into());
        page.raw(&format!("{index:>2}  {address:>10}  {offset:>10}  {bytes:>9}  {memory}"));
    }
    page.raw(&page.faint(&format!("    execution begins at 0x{:08x}", summary.header.entry_address)));
}

/// The same for a program; names follow `metadata.json`.
pub(super) fn json(path: &Path, summary: &Summary, signatures: &[Found]) -> Value {
    let header = &summary.header;
    let segments: Vec<Value> = summary
        .segments
        .iter()
        .map(|segment| {
            json!({
                "load_address": segment.load_address,
                "offset": segment.offset,
                "length": segment.length_bytes,
                "memory": summary.region(segment).map(::image::Region::name),
            })
        })
        .collect();
    json!({
        "file": path.display().to_string(),
        "size": summary.total_bytes,
        "image_size": summary.structural_bytes,
        "sha256": Sha256(summary.sha256),
        "chip": summary.chip().map(::image::Chip::name),
        "chip_id": header.chip_id,
        "descriptor": summary.descriptor.as_ref().map(descriptor_json),
        "entry_address": header.entry_address,
        "min_chip_revision": header.min_chip_revision.0,
        "max_chip_revision": header.max_chip_revision.0,
        "flash": {
            "mode": header.flash_mode(),
            "size_mib": header.flash_size_mib(),
            "frequency_mhz": header.flash_frequency_mhz(),
        },
        "segments": segments,
        "checksum": { "value": summary.checksum, "ok": true },
        "digest": { "appended": header.hash_appended, "ok": header.hash_appended.then_some(true) },
        "signature_blocks": summary.signature_blocks,
        "signatures": signatures.iter().map(Found::json).collect::<Vec<_>>(),
        "demo": summary.demo.map(|demo| json!({ "version": demo.version(), "behaviour": demo.behaviour().name() })),
    })
}

fn descriptor_json(descriptor: &AppDescriptor) -> Value {
    json!({
        "is_apps_own": descriptor.is_apps_own(),
        "stamped": descriptor.is_stamped(),
        "project_name": descriptor.project_name(),
        "version": descriptor.version(),
        "idf_version": descriptor.idf_version(),
        "built": built(descriptor),
        "elf_sha256": descriptor.elf_sha256().map(Sha256),
        "secure_version": descriptor.secure_version(),
        "min_efuse_block_revision": descriptor.min_efuse_block_revision().0,
        "max_efuse_block_revision": descriptor.max_efuse_block_revision().0,
        "mmu_page_size_log2": descriptor.mmu_page_size_log2(),
    })
}

/// Date and time as the compiler wrote them, with one space where C puts two.
fn built(descriptor: &AppDescriptor) -> String {
    let (date, time) = (descriptor.date(), descriptor.time());
    format!("{date} {time}").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// From a lower to an upper bound, where the upper one says something.
fn range(min: ::image::Revision, max: ::image::Revision) -> String {
    match (min.0, max.is_bound()) {
        (0, false) => "any".to_owned(),
        (_, false) => format!("{min} or newer"),
        (_, true) => format!("{min} to {max}"),
    }
}

/// `1.43 MiB (1,503,744 bytes)`.
fn size(bytes: u32) -> String {
    let exact = f64::from(bytes);
    let human = match bytes {
        0..1024 => return format!("{bytes} bytes"),
        1024..0x10_0000 => format!("{:.1} KiB", exact / 1024.0),
        _ => format!("{:.2} MiB", exact / 1024.0 / 1024.0),
    };
    format!("{human} ({} bytes)", grouped(bytes.into()))
}

/// Text for a terminal, or the same without colour.
struct Page {
    text: String,
    colour: bool,
}

impl Page {
    fn heading(&mut self, title: &str) {
        let title = self.painted("1", &printable(title));
        self.raw(&title);
    }

    fn line(&mut self, name: &str, value: &str) {
        let name = self.faint(&format!("{name:<NAME_WIDTH$}"));
        self.raw(&format!("  {name}{value}"));
    }

    fn raw(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn blank(&mut self) {
        self.text.push('\n');
    }

    /// A text out of the image, which may hold anything, also a terminal's commands.
    fn or_none(&self, text: &str) -> String {
        if text.is_empty() { self.faint("none") } else { printable(text) }
    }

    fn faint(&self, text: &str) -> String {
        self.painted("2", text)
    }

    fn good(&self, text: &str) -> String {
        self.painted("32", text)
    }

    fn warning(&self, text: &str) -> String {
        self.painted("33", text)
    }

    fn painted(&self, code: &str, text: &str) -> String {
        painted(code, text, self.colour)
    }
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if api::is_hidden(c) { '\u{FFFD}' } else { c }).collect()
}

#[cfg(test)]
mod tests;
