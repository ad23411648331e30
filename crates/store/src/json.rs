//! JSON objects that people and their programs wrote, read strictly: what they limit must not be lost to a slip of the pen.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::text::{beginning, text};

/// Reads a file that holds one JSON object, in which no key stands twice, however deep; the error says what is wrong.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    let text = text(bytes).map_err(|why| why.to_string())?;
    if !text.trim_start().starts_with('{') {
        return Err(match beginning(text.trim_start().as_bytes()) {
            empty if empty.is_empty() => "it is empty, and {} is the least".to_owned(),
            other => format!("it is not a JSON object, and begins with {other:?}"),
        });
    }
    match serde_json::from_str(&text).map_err(|error| error.to_string())? {
        Unique(Value::Object(map)) => Ok(map),
        Unique(_) => Err("it is not a JSON object".to_owned()),
    }
}

/// Refuses a key that is one of these but for capitals, hyphens and spaces: it would be passed over, and with it what it
/// protects.
pub(crate) fn check_spelling(map: &Map<String, Value>, keys: &[&str]) -> Result<(), String> {
    let plain = |key: &str| key.to_lowercase().replace(['-', '_', ' '], "");
    for known in keys {
        if let Some(other) = map.keys().find(|key| key != known && plain(key) == plain(known)) {
            return Err(format!("{other:?} is written {known:?}"));
        }
    }
    Ok(())
}

/// A value in which no key stands twice: of two, one would silently win.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("\"{}\" stands twice", key.escape_debug())));
            }
            let Unique(value) = entries.next_value()?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_object_is_named() {
        for (text, why) in [
            ("", "empty"),
            (" \r\n\0", "empty"),
            ("null", "begins with \"null\""),
            ("[]", "not a JSON object"),
            ("<!DOCTYPE html><html>", "begins with \"<!DOCTYPE html>"),
            ("// by hand\n{}", "begins with \"// by hand"),
            ("{ // by hand\n}", "key must be a string"),
            ("{\"a\":1,}", "trailing comma"),
            ("{\"a\":\"b", "EOF"),
            ("{}{}", "trailing characters"),
            ("{'a':1}", "key must be a string"),
            ("{\"a\":NaN}", "expected value"),
            ("{\"a\":1,\"a\":1}", "\"a\" stands twice"),
            ("{\"a\":[{\"b\":{\"c\":1,\"c\":2}}]}", "\"c\" stands twice"),
        ] {
            let error = object(text.as_bytes()).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(object(b"\xFF{}").is_err());
    }

    #[test]
    fn an_object_is_read_as_it_stands() {
        let text = r#"{"a":null,"b":[true,-1,18446744073709551615,1.5,"\u00fc"],"c":{"a":{}}}"#;
        let expected: Map<String, Value> = serde_json::from_str(text).expect("JSON");
        let bytes = [&b"\xEF\xBB\xBF \r\n"[..], text.as_bytes(), b"\n\0\0"].concat();
        assert_eq!(object(&bytes), Ok(expected));
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(object(deep.as_bytes()).expect_err("too deep").contains("recursion"));
    }
}
