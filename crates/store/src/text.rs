//! Bytes that people's tools wrote, as text: PowerShell writes UTF-16, editors put a byte order mark before it, C programs a NUL
//! behind it.

use std::borrow::Cow;
use std::char::{REPLACEMENT_CHARACTER, decode_utf16};
use std::fmt;

/// The bytes are no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotText {
    /// Neither ASCII nor UTF-8.
    Utf8,
    /// UTF-16 that is cut off or broken.
    Utf16,
}

impl fmt::Display for NotText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Utf8 => "it is not UTF-8: save it as UTF-8",
            Self::Utf16 => "it is broken UTF-16: save it as UTF-8",
        })
    }
}

impl std::error::Error for NotText {}

/// Reads a text, without byte order mark and trailing NULs. UTF-16 is known by its byte order mark, or by two ASCII letters at
/// its beginning.
pub fn text(bytes: &[u8]) -> Result<Cow<'_, str>, NotText> {
    let text = match bytes {
        [0xEF, 0xBB, 0xBF, rest @ ..] => utf8(rest),
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [1..=255, 0, 1..=255, 0, ..] => utf16(bytes, u16::from_le_bytes),
        [0, 1..=255, 0, 1..=255, ..] => utf16(bytes, u16::from_be_bytes),
        _ => utf8(bytes),
    };
    text.map(|text| match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim_end_matches('\0')),
        Cow::Owned(text) => Cow::Owned(text.trim_end_matches('\0').to_owned()),
    })
}

fn utf8(bytes: &[u8]) -> Result<Cow<'_, str>, NotText> {
    std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| NotText::Utf8)
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Cow<'_, str>, NotText> {
    let (pairs, []) = bytes.as_chunks() else { return Err(NotText::Utf16) };
    let text = decode_utf16(pairs.iter().map(|pair| unit(*pair))).collect::<Result<String, _>>();
    text.map(Cow::Owned).map_err(|_| NotText::Utf16)
}

/// The beginning of what may be no text, for people.
pub(crate) fn beginning(bytes: &[u8]) -> String {
    let text = text(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes));
    text.chars().take(40).take_while(|letter| *letter != REPLACEMENT_CHARACTER).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tool_s_text_is_read() {
        for (bytes, expected, whose) in [
            (&b"1.2.0\n"[..], Ok("1.2.0\n"), "printf"),
            (b"\xEF\xBB\xBF1.2.0\r\n", Ok("1.2.0\r\n"), "Notepad"),
            (b"\xFF\xFE1\x00.\x000\x00\r\x00\n\x00", Ok("1.0\r\n"), "PowerShell's >"),
            (b"\xFE\xFF\x001\x00.\x000", Ok("1.0"), "Set-Content -Encoding BigEndianUnicode"),
            (b"1\x00.\x000\x00", Ok("1.0"), "iconv -t UTF-16LE"),
            (b"\x001\x00.\x000", Ok("1.0"), "iconv -t UTF-16BE"),
            (b"1.2.0\0\0\0", Ok("1.2.0"), "fwrite of a C array"),
            (b"7\0\0\0", Ok("7"), "the same, of a short one"),
            (b"", Ok(""), "touch"),
            (b"\xFF\xFE1\x00.", Err(NotText::Utf16), "a copy that broke off"),
            (b"\xFF\xFE\x00\xD8", Err(NotText::Utf16), "half a letter"),
            (b"1.2.0-\xE4", Err(NotText::Utf8), "Latin-1"),
        ] {
            assert_eq!(text(bytes).as_deref().map_err(|why| *why), expected, "{whose}");
        }
        assert_eq!(beginning(b"1.2.0-\xE4"), "1.2.0-");
    }
}
