//! `blocked_versions.json` as a file.
//!
//! A list that cannot be read as exactly its shape blocks everything, so parsing is strict where it matters: a key
//! given twice, or a "version" that is none, makes the whole list unreadable. Keys that we do not know survive a write.

use std::collections::BTreeMap;

use contract::Version;
use serde_json::{Map, Value};

use crate::json;
use crate::releases::layout::is_plain;

const VERSIONS: &str = "blocked_versions";
const REASONS: &str = "reason";

/// The file, with everything in it that is not ours.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct BlockedFile {
    /// Versions as they are spelled in the file.
    versions: Vec<(String, Version)>,
    reasons: BTreeMap<String, String>,
    other: Map<String, Value>,
}

impl BlockedFile {
    /// Reads the file; the error says what is wrong with it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut other = json::object(bytes)?;
        let versions = match other.remove(VERSIONS) {
            Some(Value::Array(items)) => items.into_iter().map(version).collect::<Result<_, _>>()?,
            Some(_) => return Err(format!("\"{VERSIONS}\" is not an array")),
            None => return Err(format!("it has no \"{VERSIONS}\"")),
        };
        let reasons = match other.remove(REASONS) {
            Some(Value::Object(map)) => map.into_iter().map(reason).collect::<Result<_, _>>()?,
            Some(_) => return Err(format!("\"{REASONS}\" is not an object of versions and reasons")),
            None => BTreeMap::new(),
        };
        Ok(Self { versions, reasons, other })
    }

    /// The file's text, ending with a new line.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut map = self.other.clone();
        let versions = self.versions.iter().map(|(text, _)| Value::from(text.as_str())).collect();
        let reasons =
            self.reasons.iter().map(|(key, why)| (key.clone(), Value::from(why.as_str()))).collect();
        map.insert(VERSIONS.to_owned(), Value::Array(versions));
        map.insert(REASONS.to_owned(), Value::Object(reasons));
        let mut text = serde_json::to_vec_pretty(&map).expect("a map of JSON values is JSON");
        text.push(b'\n');
        text
    }

    /// What the list says, by precedence.
    pub(crate) fn list(&self) -> BTreeMap<Version, Option<String>> {
        let mut reasons: BTreeMap<Version, &String> = BTreeMap::new();
        for (key, why) in &self.reasons {
            if let Ok(version) = key.parse() {
                reasons.entry(version).or_insert(why);
            }
        }
        let reason = |version: &Version| reasons.get(version).map(|why| (*why).clone());
        self.versions.iter().map(|(_, version)| (version.clone(), reason(version))).collect()
    }

    /// Blocks a version; false if it already was, with this very reason. Without a reason an older one is kept.
    pub(crate) fn block(&mut self, version: &Version, reason: &str) -> bool {
        let listed = self.versions.iter().any(|(_, other)| other == version);
        let known = self.list().remove(version).flatten();
        if listed && (reason.is_empty() || known.as_deref() == Some(reason)) {
            return false;
        }
        if !listed {
            self.versions.push((version.to_string(), version.clone()));
        }
        if !reason.is_empty() {
            self.reasons.retain(|key, _| key.parse().as_ref() != Ok(version));
            self.reasons.insert(version.to_string(), reason.to_owned());
        }
        true
    }

    /// Takes a version off the list; false if it was not on it.
    pub(crate) fn unblock(&mut self, version: &Version) -> bool {
        let before = self.versions.len();
        self.versions.retain(|(_, other)| other != version);
        self.reasons.retain(|key, _| key.parse().as_ref() != Ok(version));
        self.versions.len() != before
    }
}

/// Whether a person can have had this one version in mind. An opaque name that could be a range or a pattern ("<1.2", "1.1.x",
/// "all") would block nothing.
pub(crate) fn is_one(version: &Version) -> bool {
    let name = version.as_str();
    let is_like_numbers =
        name.trim_start_matches(['v', 'V']).starts_with(|first: char| first.is_ascii_digit());
    !version.is_opaque()
        || (name.bytes().all(is_plain)
            && name.contains(|letter: char| letter.is_ascii_digit())
            && !(is_like_numbers && name.contains('.')))
}

fn version(item: Value) -> Result<(String, Version), String> {
    match item {
        Value::String(text) => match text.parse() {
            Ok(version) if is_one(&version) => Ok((text, version)),
            _ => Err(format!("\"{}\" is not a version", text.escape_debug())),
        },
        other => Err(format!("{other} is not a version in quotes")),
    }
}

fn reason((key, value): (String, Value)) -> Result<(String, String), String> {
    match value {
        Value::String(why) => Ok((key, why)),
        _ => Err(format!("the reason of \"{}\" is not text", key.escape_debug())),
    }
}

#[cfg(test)]
mod tests;
