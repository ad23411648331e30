use std::collections::BTreeSet;

use crate::tables::TABLES;
use crate::{Cause, decision, template};

#[test]
fn each_code_stands_once() {
    let mut codes = BTreeSet::new();
    for entry in TABLES.iter().copied().flatten() {
        assert!(codes.insert(entry.code), "{} stands twice", entry.code);
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        assert!(entry.code.bytes().all(is_plain), "{} is not snake_case", entry.code);
    }
}

#[test]
fn each_sentence_names_its_parameters_by_plain_names() {
    for entry in TABLES.iter().copied().flatten() {
        let names = template::parameters(entry.sentence).expect(entry.code);
        for name in names {
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit()),
                "{name}"
            );
        }
    }
}

#[test]
fn a_cause_survives_json_and_an_unknown_code_is_shown_as_it_is() {
    let cause =
        decision::TOO_LARGE.naming("version", "1.0.0").with("size", 1_430_528u64).with("slot_bytes", 9u64);
    let json = serde_json::to_string(&cause).expect("JSON");
    assert_eq!(serde_json::from_str::<Cause>(&json).expect("a cause"), cause);
    assert_eq!(cause.to_string(), "1.0.0 has 1,430,528 bytes, and the device's smallest slot has 9.");
    let newer: Cause = serde_json::from_str(r#"{"code":"gremlins"}"#).expect("a cause");
    assert_eq!((newer.known_sentence(), newer.sentence()), (None, "gremlins".to_string()));
}
