//! Files that people send as an image and that are none: named by what they begin with, so that it can be said what to send
//! instead. Nothing here is believed: it only words a refusal.

use std::char::REPLACEMENT_CHARACTER;

use cause::{Cause, Entry, file};

use crate::releases::gate::flash_content;
use crate::text::text;

/// At most this much is looked at where a text is searched.
const LOOK_MAX_BYTES: usize = 4096;

/// What each kind begins with.
const BEGINNINGS: [(&[u8], Entry); 26] = [
    (b"\x1F\x8B", file::GZIP),
    (b"PK\x03\x04", file::ZIP),
    (b"PK\x05\x06", file::ZIP),
    (b"PK\x07\x08", file::ZIP),
    (b"\xFD7zXZ\0", file::XZ),
    (b"\x5D\0\0", file::LZMA),
    (b"BZh", file::BZIP2),
    (b"\x28\xB5\x2F\xFD", file::ZSTD),
    (b"\x04\x22\x4D\x18", file::LZ4),
    (b"LZIP", file::LZIP),
    (b"\x1F\x9D", file::COMPRESS),
    (b"7z\xBC\xAF\x27\x1C", file::SEVEN_ZIP),
    (b"Rar!\x1A\x07", file::RAR),
    (b"070701", file::CPIO),
    (b"!<arch>\n", file::AR),
    (b"UF2\n", file::UF2),
    (b"version https://git-lfs.github.com/spec/", file::LFS_POINTER),
    (b"version https://hawser.github.com/spec/", file::LFS_POINTER),
    (b"/annex/objects/", file::ANNEX_POINTER),
    (b"\xEA", file::ESP8266),
    // 0xE9 as what is no UTF-8, and as Latin-1.
    (b"\xEF\xBF\xBD", file::MANGLED),
    (b"\xC3\xA9", file::MANGLED),
    (b"HTTP/1.", file::HTTP_ANSWER),
    (b"HTTP/2", file::HTTP_ANSWER),
    (b"data:", file::BASE64),
    (b"\x78\x9C", file::ZLIB),
];

/// What is something, and in which format.
const FORMATS: [(&[u8], Entry, &str); 14] = [
    (b"MZ", file::EXECUTABLE, "Windows"),
    (b"\xCF\xFA\xED\xFE", file::EXECUTABLE, "macOS"),
    (b"\xCE\xFA\xED\xFE", file::EXECUTABLE, "macOS"),
    (b"\xCA\xFE\xBA\xBE", file::EXECUTABLE, "macOS or Java"),
    (b"\0asm", file::EXECUTABLE, "WebAssembly"),
    (b"#!", file::EXECUTABLE, "a script"),
    (b"%PDF-", file::DOCUMENT, "PDF"),
    (b"\x89PNG", file::DOCUMENT, "PNG"),
    (b"\xFF\xD8\xFF", file::DOCUMENT, "JPEG"),
    (b"GIF8", file::DOCUMENT, "GIF"),
    (b"SQLite format 3\0", file::DOCUMENT, "SQLite"),
    (b"BSDIFF40", file::PATCH, "bsdiff"),
    (b"\xD6\xC3\xC4", file::PATCH, "VCDIFF"),
    (b"diff --git", file::PATCH, "Git"),
];

/// What an ELF file can be for, by its number.
const MACHINES: [(u16, &str); 7] =
    [(3, "x86"), (8, "MIPS"), (20, "PowerPC"), (40, "Arm"), (62, "x86-64"), (83, "AVR"), (183, "64-bit Arm")];
const XTENSA: u16 = 94;
const RISC_V: u16 = 243;

/// What a file is, if it is of a kind that is known.
pub(super) fn known(bytes: &[u8]) -> Option<Cause> {
    if bytes.is_empty() {
        return Some(file::EMPTY.cause());
    }
    let format = FORMATS.iter().find(|(begins, ..)| bytes.starts_with(begins));
    if let Some((_, entry, format)) = format {
        return Some(entry.with("format", *format));
    }
    if bytes.starts_with(b"\x7FELF") {
        return Some(elf(bytes));
    }
    let is_tar = bytes.get(257..262) == Some(b"ustar");
    let begins = BEGINNINGS.iter().find(|(begins, _)| bytes.starts_with(begins)).map(|(_, entry)| *entry);
    let binary = is_tar.then_some(file::TAR).or(begins).map(Entry::cause);
    binary.or_else(|| flash_content::known(bytes)).or_else(|| known_text(bytes))
}

/// An ELF file, and whether it is of one of these chips' programs.
fn elf(bytes: &[u8]) -> Cause {
    let machine = bytes.get(18..20).and_then(|machine| machine.try_into().ok()).map_or(0, u16::from_le_bytes);
    let is_ours = matches!(machine, XTENSA | RISC_V).then_some("yes");
    let named = MACHINES.iter().find(|(number, _)| *number == machine).map(|(_, name)| *name);
    file::ELF.with("is_ours", is_ours).with("machine", named)
}

/// Text of some kind, with something else behind it maybe.
fn known_text(bytes: &[u8]) -> Option<Cause> {
    let bytes = bytes.get(..LOOK_MAX_BYTES).unwrap_or(bytes);
    let look = text(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes));
    let look = look.trim_start_matches(|letter: char| letter.is_whitespace() || letter == '\u{feff}');
    let is_text = |letter: char| !letter.is_control() || letter.is_whitespace();
    let first = look.lines().next()?;
    kind_of(look).or_else(|| {
        let is_read =
            first.len() > 2 && first.chars().all(|letter| is_text(letter) && letter != REPLACEMENT_CHARACTER);
        is_read.then(|| file::TEXT.with("begins", first.chars().take(40).collect::<String>()))
    })
}

fn kind_of(look: &str) -> Option<Cause> {
    let lower = look.to_ascii_lowercase();
    let begins = |with: &[&str]| with.iter().any(|with| lower.starts_with(with));
    let is_multipart = look.starts_with("--") && lower.contains("content-disposition:");
    if is_multipart || begins(&["content-disposition:", "content-type: multipart/"]) {
        return Some(file::MULTIPART.cause());
    }
    if let Some(tag) = lower.strip_prefix('<') {
        return Some(markup(look, tag));
    }
    if look.starts_with(['{', '[']) {
        let value: Option<serde_json::Value> = serde_json::from_str(look).ok();
        let message = value.as_ref().and_then(|value| value.get("message")?.as_str());
        let message = message.map(|message| message.chars().take(100).collect::<String>());
        return Some(file::JSON.with("message", message));
    }
    let first = look.lines().next().unwrap_or_default().trim_end();
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if first.len() >= 11 && first.strip_prefix(':').is_some_and(is_hex) {
        return Some(file::INTEL_HEX.cause());
    }
    if first.len() >= 8 && first.strip_prefix('S').is_some_and(is_hex) {
        return Some(file::S_RECORD.cause());
    }
    if first.len() >= 32 && first.starts_with("6Q") && first.bytes().all(is_base64) {
        return Some(file::BASE64.cause());
    }
    let words =
        first.split_once(": ").map_or(first, |(offset, rest)| if is_hex(offset) { rest } else { first });
    if first.len() >= 32 && is_image_in_hex(words) {
        return Some(file::HEX_DUMP.cause());
    }
    let is_comment = |line: &&str| line.is_empty() || line.starts_with('#');
    let row = look.lines().map(str::trim).find(|line| !is_comment(line))?;
    let columns: Vec<&str> = row.split(',').map(str::trim).collect();
    let is_table = columns.len() >= 5 && matches!(columns.get(1), Some(&("app" | "data" | "0" | "1")));
    is_table.then(|| file::PARTITION_CSV.cause())
}

/// A page, or what else has tags; `tag` is the first one in small letters.
fn markup(look: &str, tag: &str) -> Cause {
    const PAGES: [&str; 9] =
        ["!doctype html", "html", "head", "body", "script", "meta", "title", "center", "h1"];
    // A comment or a declaration may stand before it.
    let is_before = tag.starts_with(['!', '?']);
    let is_page = PAGES.iter().any(|page| tag.starts_with(page))
        || (is_before && PAGES[..4].iter().any(|page| tag.contains(&format!("<{page}"))));
    if is_page {
        return file::HTML.cause();
    }
    let code = look.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    let code = code.map(|(code, _)| code).filter(|code| code.len() <= 64);
    file::XML.with("code", code)
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// Whether digits in some grouping begin as an image does: 0xE9, and at most 16 segments.
fn is_image_in_hex(line: &str) -> bool {
    let digits: String =
        line.chars().filter(char::is_ascii_hexdigit).take(4).collect::<String>().to_lowercase();
    let is_grouped = line.chars().take(32).all(|letter| letter.is_ascii_hexdigit() || letter == ' ');
    is_grouped && (digits.starts_with("e90") || digits == "e910")
}

#[cfg(test)]
mod tests;
