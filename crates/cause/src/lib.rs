//! Why something was refused, decided or ended: a [`Cause`] is a stable code with parameters, never finished English.
//!
//! Whoever decides makes a cause from an [`Entry`] of one of the tables below. Whoever shows it asks for
//! [`Cause::sentence`], which says what is the case and names no button and no flag; what to do about it is added by each
//! surface (the command line names flags, the dashboard names buttons).
#![no_std]

extern crate alloc;

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::String;
use core::fmt::Display;

use serde::{Deserialize, Serialize};

pub mod decision;
pub mod gate;
pub mod store;
mod template;
mod value;

pub use value::{Value, grouped};

/// Every table: a module of constants, one for each code.
const TABLES: &[&[Entry]] = &[decision::ALL, gate::ALL, store::ALL];

/// One code and its sentence. `{name}` in the sentence stands for the parameter of that name; a part in `[ ]` is left out
/// where a parameter in it is missing or empty. `{name?}` shows nothing, and its part depends on it all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Stable; `snake_case`.
    pub code: &'static str,
    sentence: &'static str,
}

impl Entry {
    /// A cause without parameters.
    pub fn cause(self) -> Cause {
        Cause { code: Cow::Borrowed(self.code), parameters: BTreeMap::new() }
    }

    /// A cause with its first parameter.
    pub fn with(self, name: &'static str, value: impl Into<Value>) -> Cause {
        self.cause().with(name, value)
    }

    /// A cause with its first parameter, as it is displayed.
    pub fn naming(self, name: &'static str, value: impl Display) -> Cause {
        self.cause().naming(name, value)
    }
}

/// Why something happened: a code and what it speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// One of the tables' codes, or one that only a newer program knows.
    pub code: Cow<'static, str>,
    /// By name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<Cow<'static, str>, Value>,
}

impl Cause {
    /// The same with one parameter more: a number, a text or a list of texts.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.parameters.insert(Cow::Borrowed(name), value.into());
        self
    }

    /// The same with one parameter more, as it is displayed.
    #[must_use]
    pub fn naming(self, name: &'static str, value: impl Display) -> Self {
        self.with(name, alloc::format!("{value}"))
    }

    /// Whether it has this entry's code.
    pub fn is(&self, entry: Entry) -> bool {
        self.code == entry.code
    }

    /// A parameter as text; empty if it is missing.
    pub fn text(&self, name: &str) -> String {
        self.parameters.get(name).map(|value| alloc::format!("{value}")).unwrap_or_default()
    }

    /// The sentence of its code: what is the case. `None` for a code that only a newer program knows.
    pub fn known_sentence(&self) -> Option<String> {
        let entry = TABLES.iter().copied().flatten().find(|entry| self.is(**entry))?;
        Some(template::fill(entry.sentence, &self.parameters))
    }

    /// The sentence of its code; the code itself where only a newer program knows it.
    pub fn sentence(&self) -> String {
        self.known_sentence().unwrap_or_else(|| String::from(&*self.code))
    }
}

impl Display for Cause {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.sentence())
    }
}

/// Makes a table: a constant for each code, and `ALL` of them.
macro_rules! table {
    ($($(#[$doc:meta])* $name:ident $code:literal $sentence:expr;)*) => {
        $($(#[$doc])* pub const $name: $crate::Entry = $crate::Entry { code: $code, sentence: $sentence };)*
        pub(crate) const ALL: &[$crate::Entry] = &[$($name),*];
    };
}
pub(crate) use table;

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::string::ToString;

    use super::*;

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
        let cause = decision::TOO_LARGE
            .naming("version", "1.0.0")
            .with("size", 1_430_528u64)
            .with("slot_bytes", 9u64);
        let json = serde_json::to_string(&cause).expect("JSON");
        assert_eq!(serde_json::from_str::<Cause>(&json).expect("a cause"), cause);
        assert_eq!(cause.to_string(), "1.0.0 has 1,430,528 bytes, and the device's smallest slot has 9.");
        let newer: Cause = serde_json::from_str(r#"{"code":"gremlins"}"#).expect("a cause");
        assert_eq!((newer.known_sentence(), newer.sentence()), (None, "gremlins".to_string()));
    }
}
