//! What Arduino's `HTTPUpdate` says of the sketch that fetches an image, in headers of its request (arduino-esp32,
//! `libraries/HTTPUpdate/src/HTTPUpdate.cpp`). It is a report like a bare version, and counts for the device whose own URL it came
//! by.

use contract::Sha256;

/// The longest of its words that is read.
const WORD_MAX_BYTES: usize = 128;

/// Which words were said, and could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sketch {
    /// What the program calls itself, which it may leave out.
    pub(super) version: Option<String>,
    /// The digest that ESP-IDF appended to the running image.
    pub(super) sha256: Option<Sha256>,
    /// The size of the slot that it would write.
    pub(super) slot_bytes: Option<u32>,
}

impl Sketch {
    /// Reads headers; `None` where they are not those of a sketch that fetches a sketch.
    pub(crate) fn read<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let word = |name: &str| {
            let word = header(name)?.trim();
            (!word.is_empty() && word.len() <= WORD_MAX_BYTES).then_some(word)
        };
        // A file system's image is fetched the same way, and tells nothing that counts for this one.
        if word("x-esp32-mode") != Some("sketch") {
            return None;
        }
        // What looks like JSON would be read as one.
        let version = word("x-esp32-version").filter(|word| !word.starts_with(['{', '[']));
        let sha256 = word("x-esp32-sketch-sha256").and_then(Sha256::from_hex);
        let slot_bytes = word("x-esp32-free-space").and_then(|digits| digits.parse().ok());
        let sketch = Self {
            version: version.map(str::to_owned),
            sha256: sha256.filter(|sha256| sha256.0 != [0; 32]),
            slot_bytes: slot_bytes.filter(|bytes| *bytes > 0),
        };
        let is_silent = sketch.version.is_none() && sketch.sha256.is_none() && sketch.slot_bytes.is_none();
        (!is_silent).then_some(sketch)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(headers: &[(&str, &str)]) -> Option<Sketch> {
        Sketch::read(|name| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| *value))
    }

    #[test]
    fn what_http_update_says_is_read_and_nothing_else() {
        let digest = "A0".repeat(32);
        let all = [
            ("x-esp32-sta-mac", "24:6F:28:00:00:00"),
            ("x-esp32-ap-mac", "24:6F:28:00:00:01"),
            ("x-esp32-free-space", "1310720"),
            ("x-esp32-sketch-size", "853264"),
            ("x-esp32-sketch-md5", "0123456789abcdef0123456789abcdef"),
            ("x-esp32-sketch-sha256", &digest),
            ("x-esp32-chip-size", "4194304"),
            ("x-esp32-sdk-version", "v4.4.7"),
            ("x-esp32-mode", "sketch"),
            ("x-esp32-version", " 1.0.0 "),
        ];
        let (version, sha256) = (Some("1.0.0".to_owned()), Some(Sha256([0xa0; 32])));
        assert_eq!(read(&all), Some(Sketch { version, sha256, slot_bytes: Some(1_310_720) }));
        let mode = ("x-esp32-mode", "sketch");
        for (headers, expected) in [
            (vec![], None),
            (vec![mode], None),
            (vec![("x-esp32-version", "1.0.0")], None),
            (vec![("x-esp32-mode", "spiffs"), ("x-esp32-version", "1.0.0")], None),
            (vec![mode, ("x-esp32-version", "")], None),
            (vec![mode, ("x-esp32-version", "{\"version\":\"9.0.0\"}")], None),
            (vec![mode, ("x-esp32-sketch-sha256", &"00".repeat(32))], None),
            (vec![mode, ("x-esp32-sketch-sha256", "a0")], None),
            (vec![mode, ("x-esp32-free-space", "0")], None),
            (vec![mode, ("x-esp32-free-space", "99999999999")], None),
            (vec![mode, ("x-esp32-free-space", "-1")], None),
            (vec![mode, ("x-esp32-version", &"9".repeat(129))], None),
            (vec![mode, ("x-esp32-version", "build-77")], Some("build-77")),
        ] {
            let version = read(&headers).and_then(|sketch| sketch.version);
            assert_eq!(version.as_deref(), expected, "{headers:?}");
            assert_eq!(read(&headers).is_some(), expected.is_some(), "{headers:?}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(version in ".{0,200}", sha256 in ".{0,70}", space in ".{0,20}") {
            let _ = read(&[
                ("x-esp32-mode", "sketch"),
                ("x-esp32-version", &version),
                ("x-esp32-sketch-sha256", &sha256),
                ("x-esp32-free-space", &space),
            ]);
        }
    }
}
