use proptest::prelude::*;

use super::*;
use crate::releases::layout::JSON_MAX_BYTES;

fn v(text: &str) -> Version {
    text.parse().expect("a version")
}

#[test]
fn the_requirement_documents_example_is_read() {
    let file =
        BlockedFile::parse(br#"{"blocked_versions": ["1.1.0"], "reason": {"1.1.0": "Boot loop after OTA"}}"#)
            .expect("readable");
    assert_eq!(file.list(), BTreeMap::from([(v("1.1.0"), Some("Boot loop after OTA".to_owned()))]));
}

#[test]
fn whatever_is_not_the_shape_is_unreadable() {
    for text in [
        "",
        " ",
        "null",
        "[]",
        "{}",
        "{",
        r#"["1.1.0"]"#,
        r#"{"blocked_versions":"1.1.0"}"#,
        r#"{"blocked_versions":null}"#,
        r#"{"blocked_versions":{}}"#,
        r#"{"blocked_versions":["latest"]}"#,
        r#"{"blocked_versions":[1.1]}"#,
        r#"{"blocked_versions":["1.1.x"]}"#,
        r#"{"blocked_versions":["v1.x"]}"#,
        r#"{"blocked_versions":["<1.2.0"]}"#,
        r#"{"blocked_versions":["1.0.0 - 1.2.0"]}"#,
        r#"{"blocked_versions":["1.0.0, 1.1.0"]}"#,
        r#"{"blocked_versions":["*"]}"#,
        r#"{"blocked_versions":[""]}"#,
        r#"{"blocked_versions":[],"reason":[]}"#,
        r#"{"blocked_versions":[],"reason":"none"}"#,
        r#"{"blocked_versions":["1.1.0"],"reason":{"1.1.0":7}}"#,
        r#"{"blocked_versions":["1.1.0"],"blocked_versions":[]}"#,
        r#"{"blocked_versions":["1.1.0"],"reason":{"1.1.0":"a","1.1.0":"b"}}"#,
        r#"{"blocked_versions":[]} trailing"#,
    ] {
        assert!(BlockedFile::parse(text.as_bytes()).is_err(), "{text}");
    }
    assert!(BlockedFile::parse(b"\xff\xfe").is_err());
    assert!(BlockedFile::parse(b"\xff\xfe{\0}").is_err());
}

#[test]
fn each_spelling_and_each_tool_s_file_is_read() {
    let text = r#"{"blocked_versions":["v1.1","1.2.3.4","build-77","7e12ab0","main-7e12ab0"]}"#;
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let listed = ["7e12ab0", "build-77", "main-7e12ab0", "1.1.0", "1.2.3.4"].map(v);
    for bytes in
        [text.as_bytes(), &[b"\xef\xbb\xbf", text.as_bytes()].concat(), &[b"\xff\xfe", &utf16[..]].concat()]
    {
        let file = BlockedFile::parse(bytes).expect("readable");
        assert_eq!(file.list().into_keys().collect::<Vec<_>>(), listed);
    }
}

#[test]
fn unknown_keys_and_spellings_survive_a_write() {
    let mut file = BlockedFile::parse(
        br#"{"note":{"by":"ops"},"blocked_versions":["v1.1.0"],"reason":{"v1.1.0":"x","0.9":"?"},"n":12}"#,
    )
    .expect("readable");
    assert!(file.block(&v("1.2.0"), "worse"));
    let text: Value = serde_json::from_slice(&file.to_bytes()).expect("JSON");
    assert_eq!(
        text,
        serde_json::json!({
            "note": {"by": "ops"}, "n": 12,
            "blocked_versions": ["v1.1.0", "1.2.0"],
            "reason": {"v1.1.0": "x", "0.9": "?", "1.2.0": "worse"},
        })
    );
}

#[test]
fn build_metadata_does_not_matter() {
    let mut file = BlockedFile::default();
    assert!(file.block(&v("1.1.0+a"), "x"));
    assert!(!file.block(&v("1.1.0+b"), "x"));
    assert!(!file.block(&v("1.1.0+b"), ""));
    assert!(file.block(&v("1.1.0+b"), "y"));
    assert_eq!(file.list(), BTreeMap::from([(v("1.1.0"), Some("y".to_owned()))]));
    assert!(file.unblock(&v("1.1.0")));
    assert!(!file.unblock(&v("1.1.0")));
    assert_eq!(file, BlockedFile::default());
}

proptest! {
    #[test]
    fn bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = BlockedFile::parse(&bytes);
    }

    #[test]
    fn what_is_written_is_read_back(entries in proptest::collection::btree_map((0u8..9, 0u8..9, 0u8..9), ".{0,20}", 0..8)) {
        let mut file = BlockedFile::default();
        for ((major, minor, patch), reason) in &entries {
            file.block(&v(&format!("{major}.{minor}.{patch}")), reason);
        }
        let read = BlockedFile::parse(&file.to_bytes()).expect("our own text");
        prop_assert_eq!(read.list().len(), entries.len());
        prop_assert_eq!(&read, &file);
        for (major, minor, patch) in entries.keys() {
            let version = v(&format!("{major}.{minor}.{patch}"));
            prop_assert!(file.unblock(&version));
        }
        prop_assert!(file.list().is_empty());
    }

    #[test]
    fn near_misses_are_refused_or_block_all_they_name(
        text in r#"\{"blocked_versions":\[("[0-9v. ]{0,7}",?){0,3}\](,"reason":\{("[0-9.]{0,5}":("x"|1),?){0,2}\})?\}"#,
    ) {
        if let Ok(file) = BlockedFile::parse(text.as_bytes()) {
            let value: Value = serde_json::from_str(&text).expect("JSON");
            for item in value["blocked_versions"].as_array().expect("an array") {
                let version = v(item.as_str().expect("text"));
                prop_assert!(file.list().contains_key(&version));
            }
        }
    }
}

/// As long as a file may be: each entry is looked at once, not once for every other one.
#[test]
fn the_longest_list_is_read_at_once() {
    let entries = 30_000;
    let versions: Vec<String> = (0..entries).map(|number| format!("\"1.0.{number}\"")).collect();
    let reasons: Vec<String> = (0..entries).map(|number| format!("\"1.0.{number}\":\"{number}\"")).collect();
    let text =
        format!("{{\"blocked_versions\":[{}],\"reason\":{{{}}}}}", versions.join(","), reasons.join(","));
    assert!(text.len() as u64 <= JSON_MAX_BYTES, "{}", text.len());
    let began = std::time::Instant::now();
    let mut file = BlockedFile::parse(text.as_bytes()).expect("readable");
    let list = file.list();
    assert_eq!(list.len(), entries);
    assert_eq!(list[&"1.0.29999".parse().expect("a version")].as_deref(), Some("29999"));
    assert!(file.block(&"1.0.7".parse().expect("a version"), "again"));
    // Looking at each for each takes minutes.
    assert!(began.elapsed() < std::time::Duration::from_mins(1), "{:?}", began.elapsed());
}
