//! `blocked_versions.json`: versions never to be offered, and why.
//!
//! A list that cannot be read as exactly its shape blocks everything, so parsing is strict where it matters: a key
//! given twice, or a "version" that is none, makes the whole list unreadable. Keys that we do not know survive a write.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use contract::{ProductName, Version};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::objects::bucket::{Fetched, Read};
use crate::objects::explain::first_line;
use crate::objects::put::{Turn, to_its_end};
use crate::releases::layout::{self, JSON_MAX_BYTES};
use crate::{Store, StoreError};

/// How often a write to the blocked list that lost against another is tried again. Each loss is another writer's win.
const SWAPS_MAX: u32 = 200;

/// How long after a write without conditions it is looked at again.
const SETTLING: Duration = Duration::from_millis(400);

const VERSIONS: &str = "blocked_versions";
const REASONS: &str = "reason";

/// What a product's blocked list says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// These versions, each with its reason if one was given.
    List(BTreeMap<Version, Option<String>>),
    /// The list is there and cannot be read, so everything is blocked; the sentence says why.
    Unreadable(String),
}

impl Blocked {
    /// Why `version` must not be offered, as a sentence; `None` if it may.
    pub fn refusal(&self, version: &Version) -> Option<String> {
        match self {
            Self::Unreadable(why) => Some(why.clone()),
            Self::List(list) => list.get(version).map(|reason| match reason {
                Some(reason) => format!("version {version} is blocked: {reason}"),
                None => format!("version {version} is blocked"),
            }),
        }
    }
}

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
        let UniqueMap(mut other) = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
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

fn version(item: Value) -> Result<(String, Version), String> {
    match item {
        Value::String(text) => match text.parse() {
            Ok(version) => Ok((text, version)),
            Err(_) => Err(format!("\"{}\" is not a version", text.escape_debug())),
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

/// A JSON object in which no key stands twice, neither in it nor in the objects right below: of two lists, one would
/// silently win.
struct UniqueMap(Map<String, Value>);

impl<'de> Deserialize<'de> for UniqueMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Unique;
        impl<'de> Visitor<'de> for Unique {
            type Value = UniqueMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with \"blocked_versions\" and \"reason\"")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<UniqueMap, A::Error> {
                let mut map = Map::new();
                while let Some(key) = access.next_key::<String>()? {
                    let twice = || A::Error::custom(format!("\"{}\" stands twice", key.escape_debug()));
                    if map.contains_key(&key) {
                        return Err(twice());
                    }
                    let value = if key == REASONS {
                        access.next_value::<Reasons>()?.0
                    } else {
                        access.next_value()?
                    };
                    map.insert(key, value);
                }
                Ok(UniqueMap(map))
            }
        }
        deserializer.deserialize_map(Unique)
    }
}

/// The value of "reason": an object in which no version stands twice.
struct Reasons(Value);

impl<'de> Deserialize<'de> for Reasons {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        UniqueMap::deserialize(deserializer).map(|UniqueMap(map)| Self(Value::Object(map)))
    }
}

/// Changes the file; false if there is nothing to change.
type Change = Arc<dyn Fn(&mut BlockedFile) -> Result<bool, StoreError> + Send + Sync>;

/// What came of one attempt to change the list.
enum Swap {
    Done,
    /// Written, but without a condition: it has to be looked at again.
    Unsure,
    /// Somebody else has written in between.
    Lost,
}

impl Store {
    /// The blocked list, read afresh.
    pub async fn blocked(&self, product: &ProductName) -> Result<Blocked, StoreError> {
        let key = layout::blocked(product);
        Ok(match self.bucket.read_small(&key, JSON_MAX_BYTES).await? {
            Read::Missing => Blocked::List(BTreeMap::new()),
            Read::TooLong(found) => Blocked::Unreadable(unreadable(&key, &too_long(found.size))),
            Read::Found(fetched) => match BlockedFile::parse(&fetched.bytes) {
                Ok(file) => Blocked::List(file.list()),
                Err(why) => Blocked::Unreadable(unreadable(&key, &why)),
            },
        })
    }

    /// Blocks a version, published or not. Blocking it again changes its reason, if one is given.
    pub async fn block(
        &self,
        product: &ProductName,
        version: &Version,
        reason: &str,
    ) -> Result<(), StoreError> {
        let reason = reason.trim();
        let (version, reason) = (version.clone(), reason.to_owned());
        self.change_blocked(product, Arc::new(move |file| Ok(file.block(&version, &reason)))).await
    }

    /// Takes a version off the blocked list; `NotFound` if it is not on it.
    pub async fn unblock(&self, product: &ProductName, version: &Version) -> Result<(), StoreError> {
        let (of, version) = (product.clone(), version.clone());
        let unblock = move |file: &mut BlockedFile| {
            if file.unblock(&version) {
                return Ok(true);
            }
            Err(StoreError::NotFound(format!("version {version} of {of} is not blocked")))
        };
        self.change_blocked(product, Arc::new(unblock)).await
    }

    /// Reads, changes and writes the list until nobody else has written in between.
    async fn change_blocked(&self, product: &ProductName, change: Change) -> Result<(), StoreError> {
        let key = layout::blocked(product);
        let mut written = false;
        for attempt in 0..SWAPS_MAX {
            let turn = self.bucket.turn(&key).await?;
            let (store, change, key) = (self.clone(), Arc::clone(&change), key.clone());
            let swap = to_its_end(async move { store.swap_blocked(turn, &key, &*change).await });
            match swap.await {
                Ok(Swap::Done) => return Ok(()),
                Ok(Swap::Unsure) => written = true,
                Ok(Swap::Lost) => {}
                // What was written a moment ago still stands.
                Err(StoreError::NotFound(_)) if written => return Ok(()),
                Err(error) => return Err(error),
            }
            if written {
                // Somebody else may be writing over it just now.
                tokio::time::sleep(SETTLING).await;
            }
            tokio::time::sleep(Duration::from_millis(u64::from(attempt % 10) * 7)).await;
        }
        Err(StoreError::damaged(format!(
            "{key} was changed by others each of the {SWAPS_MAX} times this was tried; run it again later"
        )))
    }

    async fn swap_blocked(
        &self,
        turn: Turn,
        key: &str,
        change: &(dyn Fn(&mut BlockedFile) -> Result<bool, StoreError> + Send + Sync),
    ) -> Result<Swap, StoreError> {
        let before = match self.bucket.read(key, JSON_MAX_BYTES).await? {
            Read::Missing => None,
            Read::TooLong(found) => return Err(StoreError::Refused(unreadable(key, &too_long(found.size)))),
            Read::Found(fetched) => Some(fetched),
        };
        let mut file = match &before {
            None => BlockedFile::default(),
            Some(Fetched { bytes, .. }) => {
                BlockedFile::parse(bytes).map_err(|why| StoreError::Refused(unreadable(key, &why)))?
            }
        };
        if !change(&mut file)? {
            return Ok(Swap::Done);
        }
        let bytes = file.to_bytes();
        if bytes.len() as u64 > JSON_MAX_BYTES {
            return Err(StoreError::Refused(format!("{key} would grow beyond 1 MiB; give a shorter reason")));
        }
        let tag = match &before {
            None => self.bucket.create(&turn, key, bytes.into()).await?,
            Some(before) => self.bucket.replace(&turn, key, &before.tag, bytes.into()).await?,
        };
        Ok(match tag {
            Some(_) if turn.is_conditional() => Swap::Done,
            Some(_) => Swap::Unsure,
            None => Swap::Lost,
        })
    }
}

fn unreadable(key: &str, why: &str) -> String {
    let why = first_line(why);
    format!("every version is blocked, because {key} cannot be read ({why}); repair or remove that file")
}

fn too_long(size: u64) -> String {
    format!("it has {size} bytes; more than 1 MiB is not read")
}

#[cfg(test)]
mod tests;
