//! Reading what devices send. Of a report, the version must be one, and whatever else cannot be read must not hide it; of
//! what devices repeat, signed URLs are taken out.

use contract::{InvalidPayload, LastOutcome, ProductName, REPORT_MAX_BYTES, Reason, Report, Sha256, Version};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use store::NotText;

/// Entries that are kept of each list, and the longest of them.
const LISTS: [(&str, usize); 2] = [("accepts", 4), ("lacks", 8)];
const ENTRY_MAX_BYTES: usize = 16;

/// A report, and how it was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) report: Report,
    /// The version in the device's own words, where they are others.
    pub(crate) version: Option<String>,
    pub(crate) is_json: bool,
}

/// Reads a report, as C programs send it: up to the first NUL, and letters that are no UTF-8 must not hide the version.
pub(crate) fn read_report(payload: &[u8]) -> Result<Said, InvalidPayload> {
    if payload.len() > REPORT_MAX_BYTES {
        return Err(InvalidPayload::Report);
    }
    let string = payload.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = match store::text(payload) {
        Ok(text) => text,
        Err(NotText::Utf8) => String::from_utf8_lossy(string),
        Err(NotText::Utf16) => return Err(InvalidPayload::Report),
    };
    let text = text.split('\0').next().unwrap_or_default().trim();
    // An array would be taken for the fields of a report.
    if text.starts_with('[') {
        return Err(InvalidPayload::Report);
    }
    let is_json = text.starts_with('{');
    let words = redact(&if is_json { running(text)? } else { text.to_owned() });
    let version = Version::said(&words).ok_or(InvalidPayload::Report)?;
    let is_other = version.as_str() != words;
    let report = if is_json {
        serde_json::from_str(text).or_else(|_| tolerant(text, &version))?
    } else {
        Report::bare(version)
    };
    Ok(Said { report, version: is_other.then(|| Reason::new(&words).to_string()), is_json })
}

/// The version of a JSON report as it stands there. One that is said twice is refused.
fn running(text: &str) -> Result<String, InvalidPayload> {
    #[derive(Deserialize)]
    struct Running {
        version: String,
    }
    serde_json::from_str(text).map(|Running { version }| version).map_err(|_| InvalidPayload::Report)
}

/// Only the version is required, so only it can make a report unreadable.
fn tolerant(text: &str, version: &Version) -> Result<Report, InvalidPayload> {
    let unreadable = |_| InvalidPayload::Report;
    let mut map: Map<String, Value> = serde_json::from_str(text).map_err(unreadable)?;
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
    keep::<Option<u16>>(&mut map, "chip_revision");
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

/// How much of a message that could not be read is shown.
const EXCERPT_MAX_CHARS: usize = 40;
/// What follows one of these may be a secret.
const SECRETS: [&str; 9] = ["pass", "pwd", "secret", "token", "bearer", "psk", "key", "auth", "cred"];

/// How a message that cannot be read begins, in quotes: other bytes than letters escaped, URLs and what may be a secret taken out.
pub(crate) fn excerpt(payload: &[u8]) -> String {
    let text = redact(&String::from_utf8_lossy(payload));
    let lower = text.to_ascii_lowercase();
    let secret = SECRETS.iter().filter_map(|mark| Some(lower.find(mark)? + mark.len())).min();
    let end = secret.unwrap_or(text.len());
    let shown: String = text[..end].chars().take(EXCERPT_MAX_CHARS).collect();
    let is_whole = shown.len() == text.len();
    let rest = if shown.len() == end && secret.is_some() { " (redacted)" } else { "…" };
    format!("{shown:?}{}", if is_whole { "" } else { rest })
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
            assert_eq!(read.map(|said| said.report), Ok(expected.expect("a report")), "{rest}");
        }
    }

    #[test]
    fn without_one_version_there_is_no_report() {
        for text in [
            "{}",
            r#"{"version":null}"#,
            r#"{"version":1}"#,
            r#"{"version":" \n"}"#,
            r#"{"version":"1.0.0","version":"2.0.0"}"#,
            r#"{"version":"1.0.0""#,
            r#"{"version":"1.0.0"} x"#,
            r#"["1.0.0"]"#,
        ] {
            assert_eq!(read_report(text.as_bytes()), Err(InvalidPayload::Report), "{text}");
        }
    }

    #[test]
    fn each_program_s_words_are_read() {
        for (payload, version, said, whose) in [
            (&b"1.0.0"[..], "1.0.0", None, "publish(topic, \"1.0.0\")"),
            (b"v1.2\0", "1.2.0", Some("v1.2"), "publish(topic, text, sizeof text)"),
            (b"1.0\0\xFF\xA5 old", "1.0.0", Some("1.0"), "the same, of a buffer that was used before"),
            (
                b"\xFF\xFE1\0.\x002\0\r\0\n\0",
                "1.2.0",
                Some("1.2"),
                "mosquitto_pub -f of a file by PowerShell's >",
            ),
            (b"\"1.0.0\"\n", "1.0.0", Some("\"1.0.0\""), "jq .version | mosquitto_pub -l"),
            (b"1.4.0 (Oct 5)", "1.4.0", Some("1.4.0 (Oct 5)"), "a sketch that appends __DATE__"),
            (b"build-77\r\n", "build-77", None, "println"),
            (b"g\xFCnstig 2", "g\u{FFFD}nstig 2", None, "Latin-1"),
            (b"see https://h/d/token", "see (URL)", None, "a device that sends back what it got"),
            (b"{\"version\":\"v2\"}\0", "2.0.0", Some("v2"), "serializeJson and sizeof"),
            (b"\xEF\xBB\xBF{\"version\":\"build-77\",\"chip\":7}", "build-77", None, "a file by Notepad"),
        ] {
            let read = read_report(payload).expect("a report");
            let is_json = payload.contains(&b'{');
            assert_eq!((read.report.version.as_str(), read.is_json), (version, is_json), "{whose}");
            assert_eq!(read.version.as_deref(), said, "{whose}");
        }
        let long = format!("{{\"version\":\"{}\",\"chip\":\"esp32\"}}", "long ".repeat(60));
        let read = read_report(long.as_bytes()).expect("a report");
        assert!(read.report.version.as_str().ends_with('…') && read.report.chip.is_some());
        assert_eq!(read.version.expect("its words").len(), 199);
        for nothing in [&b" \n"[..], b"\0\0", b"\xFF\xFE", b"\xFF\xFE1"] {
            assert_eq!(read_report(nothing), Err(InvalidPayload::Report), "{nothing:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_report_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(said) = read_report(&bytes) {
                let again: Version = said.report.version.as_str().parse().expect("a version");
                prop_assert_eq!(again.as_str(), said.report.version.as_str());
            }
        }

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
    fn an_unreadable_message_is_shown_by_its_beginning_without_secrets() {
        for (payload, shown) in [
            (&b"please"[..], r#""please""#),
            (b"\0\x01ok\r\n", r#""\0\u{1}ok\r\n""#),
            (b"\xff\xfe", "\"\u{FFFD}\u{FFFD}\""),
            (
                b"<html><head><title>502 Bad Gateway</title></head>",
                "\"<html><head><title>502 Bad Gateway</titl\"…",
            ),
            (b"got https://b.s3/x?X-Amz-Signature=abc", r#""got (URL)""#),
            (br#"{"WiFi_Password":"hunter2"}"#, r#""{\"WiFi_Pass" (redacted)"#),
            (br#"{"ssid":"home","pwd":"hunter2"}"#, r#""{\"ssid\":\"home\",\"pwd" (redacted)"#),
            (b"Authorization: Bearer abc.def", r#""Auth" (redacted)"#),
        ] {
            assert_eq!(excerpt(payload), shown);
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
