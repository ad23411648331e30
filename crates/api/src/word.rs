//! Values of a list that may grow: what a newer server says must not make its whole answer unreadable.

use std::fmt;

use fleet::{Identity, UpdateState};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

/// One of the words that are known here, or another one as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Word<T> {
    /// It is known.
    Known(T),
    /// It is not.
    Other(String),
}

impl<T> Word<T> {
    /// The value, if it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Other(_) => None,
        }
    }
}

impl<T> From<T> for Word<T> {
    fn from(value: T) -> Self {
        Self::Known(value)
    }
}

impl<T: PartialEq> PartialEq<T> for Word<T> {
    fn eq(&self, other: &T) -> bool {
        self.known() == Some(other)
    }
}

impl<T: fmt::Display> fmt::Display for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(value) => f.pad(&value.to_string()),
            Self::Other(word) => f.pad(word),
        }
    }
}

impl Word<UpdateState> {
    /// Whether the device may still be at work on it.
    pub fn is_in_flight(&self) -> bool {
        self.known().is_some_and(|state| state.is_in_flight())
    }
}

impl Default for Word<Identity> {
    fn default() -> Self {
        Self::Known(Identity::Unknown)
    }
}

/// For what can be done without: what cannot be read is as if it were missing.
pub(crate) fn if_readable<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    from: D,
) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(serde_json::Value::deserialize(from)?).ok())
}

#[cfg(test)]
mod tests {
    use crate::{CheckAnswer, Device, Finding, Page, Problem, Release, Update};

    /// The shapes that the contract fixes, and what only a newer server says.
    #[test]
    fn an_answer_of_an_older_or_a_newer_server_is_read() {
        let update = r#"{"id":1,"device":"d1","from":"build-77","to":"1.1.0","state":"postponed","reason":null,"bytes":9,
            "created_at":"2026-11-30T00:00:00Z","finished_at":null,"cause":{"code":"x","parameters":{"a":true}}}"#;
        let update: Update = serde_json::from_str(update).expect("an update");
        assert_eq!((update.state.to_string(), update.state.is_in_flight()), ("postponed".to_owned(), false));
        assert_eq!((update.from, update.cause), (Some("build-77".to_owned()), None));
        let device = r#"{"items":[{"id":"d1","product":null,"group":"g","version":"1.0","sha256":null,"identity":"unknown",
            "online":true,"last_seen":null,"tags":[],"pin":null,"update":null}],"next":null}"#;
        let devices: Page<Device> = serde_json::from_str(device).expect("a list");
        assert_eq!(devices.items[0].version.as_deref(), Some("1.0"));
        let answer = r#"{"decision":"held","version":null,"reason":"pinned","update":null}"#;
        assert_eq!(serde_json::from_str::<CheckAnswer>(answer).expect("an answer").cause, None);
        let release =
            r#"{"version":"1.0.0","size":1,"sha256":null,"chip":null,"blocked":false,"reason":null}"#;
        assert!(serde_json::from_str::<Release>(release).expect("a release").channels.is_empty());
        let finding = r#"{"check":"x","level":"note","allowed":false,"overrulable":false,"sentence":"s"}"#;
        assert_eq!(serde_json::from_str::<Finding>(finding).expect("a finding").level.to_string(), "note");
        let problem = r#"{"detail":"no","cause":{"code":"x","parameters":{"a":null}}}"#;
        let problem: Problem = serde_json::from_str(problem).expect("a problem");
        assert_eq!((problem.detail.as_str(), problem.cause), ("no", None));
    }
}
