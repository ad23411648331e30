//! Reading what devices send. Of a report, the version must be one, and whatever else cannot be read must not hide it; of
//! what devices repeat, signed URLs are taken out.

use contract::{InvalidPayload, LastOutcome, ProductName, REPORT_MAX_BYTES, Reason, Report, Sha256, Version};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Entries that are kept of each list, and the longest of them.
const LISTS: [(&str, usize); 2] = [("accepts", 4), ("lacks", 8)];
const ENTRY_MAX_BYTES: usize = 16;

/// A report, and whether it was JSON.
pub(crate) fn read_report(payload: &[u8]) -> Result<(Report, bool), InvalidPayload> {
    if payload.len() > REPORT_MAX_BYTES {
        return Err(InvalidPayload::Report);
    }
    if payload.trim_ascii_start().starts_with(b"{") {
        return serde_json::from_slice(payload).or_else(|_| tolerant(payload)).map(|report| (report, true));
    }
    Report::parse_bare(payload).map(|version| (Report::bare(version), false))
}

/// Only the version is required, so only it can make a report unreadable.
fn tolerant(payload: &[u8]) -> Result<Report, InvalidPayload> {
    #[derive(Deserialize)]
    struct Running {
        version: Version,
    }
    let unreadable = |_| InvalidPayload::Report;
    // Also refuses a version that is said twice.
    let Running { version } = serde_json::from_slice(payload).map_err(unreadable)?;
    let mut map: Map<String, Value> = serde_json::from_slice(payload).map_err(unreadable)?;
    map.insert("version".to_owned(), Value::from(version.as_str()));
    for (key, longest) in [("chip", 16), ("slot", 16), ("state", 16), ("reset", 24)] {
        if let Some(Value::String(text)) = map.get_mut(key) {
            text.truncate(text.floor_char_boundary(longest));
        }
    }
    // A state that nobody can read is not the one that confirms an update.
    if map.get("state").is_some_and(|state| !state.is_string() && !state.is_null()) {
        map.insert("state".to_owned(), Value::from("unreadable"));
    }
    for (key, most) in LISTS {
        if let Some(Value::Array(entries)) = map.get_mut(key) {
            entries.retain(|what| what.as_str().is_some_and(|what| what.len() <= ENTRY_MAX_BYTES));
            entries.truncate(most);
        }
    }
    keep::<Option<ProductName>>(&mut map, "product");
    keep::<Option<Sha256>>(&mut map, "sha256");
    keep::<Option<String>>(&mut map, "chip");
    keep::<Option<String>>(&mut map, "slot");
    keep::<Option<String>>(&mut map, "reset");
    keep::<Option<u32>>(&mut map, "slot_bytes");
    keep::<Option<bool>>(&mut map, "rollback");
    keep::<Option<u32>>(&mut map, "secure_version");
    keep::<Option<bool>>(&mut map, "stamped");
    for (key, _) in LISTS {
        keep::<Vec<String>>(&mut map, key);
    }
    keep::<Option<LastOutcome>>(&mut map, "last");
    keep::<Option<Reason>>(&mut map, "returned");
    serde_json::from_value(Value::Object(map)).map_err(unreadable)
}

fn keep<T: DeserializeOwned>(map: &mut Map<String, Value>, key: &str) {
    if map.get(key).is_some_and(|value| serde_json::from_value::<T>(value.clone()).is_err()) {
        map.remove(key);
    }
}

/// Replaces URLs, and words that carry a signature, by `(URL)`.
pub(crate) fn redact(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    for word in text.split_inclusive(char::is_whitespace) {
        match secret_start(word) {
            Some(start) => {
                redacted.push_str(&word[..start]);
                redacted.push_str("(URL)");
                let end = word.trim_end().len();
                redacted.push_str(&word[end..]);
            }
            None => redacted.push_str(word),
        }
    }
    redacted
}

/// Where in the word a URL begins.
fn secret_start(word: &str) -> Option<usize> {
    let lower = word.to_ascii_lowercase();
    let scheme = lower.find("http:").into_iter().chain(lower.find("https:")).chain(lower.find("//")).min();
    let signed = ["signature=", "x-amz-", "/firmware/", "/d/"].iter().any(|mark| lower.contains(mark));
    scheme.or(signed.then_some(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{redact, *};

    #[test]
    fn what_else_cannot_be_read_does_not_hide_the_version() {
        for (rest, expected) in [
            (
                r#""accepts":["a","b","c","d","delta"],"chip":"esp32s3""#,
                r#""accepts":["a","b","c","d"],"chip":"esp32s3""#,
            ),
            (
                r#""lacks":["signatures",7,"a protection that is long","record"],"reset":3"#,
                r#""lacks":["signatures","record"]"#,
            ),
            (r#""lacks":"signatures""#, r#""x":0"#),
            (r#""accepts":null,"rollback":"yes","slot_bytes":99999999999"#, r#""x":0"#),
            (r#""chip":7,"slot":{},"sha256":"abc","product":"NO GOOD""#, r#""x":0"#),
            (
                r#""reset":"a reason for the last reset that is long""#,
                r#""reset":"a reason for the last re""#,
            ),
            (r#""state":"pending_verify_and_more""#, r#""state":"pending_verify_a""#),
            (r#""state":3"#, r#""state":"unreadable""#),
            (r#""last":{"result":"failed"}"#, r#""last":null"#),
            (r#""returned":7"#, r#""x":0"#),
        ] {
            let read = read_report(format!("{{\"version\":\"1.0.0\",{rest}}}").as_bytes());
            let expected = serde_json::from_str(&format!("{{\"version\":\"1.0.0\",{expected}}}"));
            assert_eq!(read, Ok((expected.expect("a report"), true)), "{rest}");
        }
    }

    #[test]
    fn without_one_version_there_is_no_report() {
        for text in [
            "{}",
            r#"{"version":null}"#,
            r#"{"version":1}"#,
            r#"{"version":"1.0"}"#,
            r#"{"version":"1.0.0","version":"2.0.0"}"#,
            r#"{"version":"1.0.0""#,
            r#"{"version":"1.0.0"} x"#,
            r#"["1.0.0"]"#,
        ] {
            assert_eq!(read_report(text.as_bytes()), Err(InvalidPayload::Report), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_value_beside_a_version_is_read_without_panic(
            key in "product|chip|sha256|slot|state|slot_bytes|accepts|lacks|rollback|reset|last|returned",
            value in "null|true|-1|1e99|\"[ -!#-Zä-ü]{0,60}\"|\\[(\"[a-z]{0,20}\",){0,6}7\\]|\\{\"result\":\"FAILED\",\"to\":7\\}",
        ) {
            let text = format!("{{\"version\":\"1.0.0\",\"{key}\":{value}}}");
            prop_assert!(read_report(text.as_bytes()).is_ok(), "{}", text);
        }
    }

    #[test]
    fn urls_and_signatures_never_stay() {
        for (text, expected) in [
            ("no route to https://b.s3/x?X-Amz-Signature=abc now", "no route to (URL) now"),
            ("GET=HTTP://h/firmware/x", "GET=(URL)"),
            ("404 /firmware/p/x?expires=1&signature=ab", "404 (URL)"),
            ("redirect to //host/d/abc failed", "redirect to (URL) failed"),
            ("the digest does not match", "the digest does not match"),
            ("http error 403", "http error 403"),
        ] {
            assert_eq!(redact(text), expected);
        }
    }
}
