//! An answer as it came, beside what is understood of it: printed for programs, it keeps the fields of a newer server.

use std::ops::Deref;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

/// What is known of an answer, and all of it.
pub(crate) struct Whole<T> {
    known: T,
    /// As it came.
    pub(crate) json: Value,
}

impl<T> Deref for Whole<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.known
    }
}

/// What this process knows is all there is.
impl<T: Serialize> From<T> for Whole<T> {
    fn from(known: T) -> Self {
        let json = serde_json::to_value(&known).expect("an answer can be written as JSON");
        Self { known, json }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Value::deserialize(deserializer)?;
        let known = T::deserialize(&json).map_err(de::Error::custom)?;
        Ok(Self { known, json })
    }
}

impl<T> Serialize for Whole<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_not_known_is_printed_again() {
        let text = r#"{"status":"ok","uptime_s":7,"version":"9.0.0"}"#;
        let health: Whole<api::Health> = serde_json::from_str(text).expect("an answer");
        assert_eq!(health.version, "9.0.0");
        assert_eq!(serde_json::to_string(&health).expect("it can be written"), text);
        assert!(serde_json::from_str::<Whole<api::Health>>(r#"{"status":"ok"}"#).is_err());
    }
}
