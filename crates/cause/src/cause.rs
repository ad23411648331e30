//! The value.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;

use serde::{Deserialize, Serialize};

use crate::tables::TABLES;
use crate::{Entry, Value, template};

/// Why something happened: a code and what it speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cause {
    /// One of the tables' codes, or one that only a newer program knows.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub code: Cow<'static, str>,
    /// By name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, Value>))]
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
        self.with(name, format!("{value}"))
    }

    /// Whether it has this entry's code.
    pub fn is(&self, entry: Entry) -> bool {
        self.code == entry.code
    }

    /// A parameter as text; empty if it is missing.
    pub fn text(&self, name: &str) -> String {
        self.parameters.get(name).map(|value| format!("{value}")).unwrap_or_default()
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
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.sentence())
    }
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
