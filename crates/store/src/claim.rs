//! The claim to a version: which image, under which spelling, is about to become its release.
//!
//! `1.0.0+a` and `1.0.0+b` are one version in two folders, so that no `version.txt` can decide between them. One object
//! does: it is created once per precedence, right before `version.txt`. It also comes before anybody replaces what
//! another publisher left unfinished, so that this one does not commit an image that is being replaced.
//!
//! A claim promises nothing for ever: it is taken over where it is not made good. So it is looked at again after the
//! commit, and who takes one over looks for a commit after that: of two, one at least sees the other.
//!
//! Only a bucket with conditional writes has claims. A folder needs none: there writers take turns.

use std::time::Instant;

use bytes::Bytes;
use contract::{ProductName, Sha256, Version};
use serde_json::{Value, json};

use crate::bucket::{Read, Tag};
use crate::commit::LOOK_EVERY;
use crate::layout::{self, JSON_MAX_BYTES, Place};
use crate::put::Turn;
use crate::{Store, StoreError};

/// A claim that was ours a moment ago.
#[derive(Debug)]
pub(crate) struct Held {
    key: String,
    tag: Tag,
}

/// Whose a claim is after the commit.
#[derive(Debug)]
pub(crate) enum Claimant {
    /// Still ours, or there are no claims here.
    Us,
    /// Another image's of this very spelling: which one is published, `version.txt` has decided.
    SameSpelling,
    /// Another spelling's; `None`: it has gone or cannot be read.
    Other(Option<Version>),
}

impl Store {
    /// Claims a version for an image. `None`: somebody else has published it, or is about to; look at everything again.
    pub(crate) async fn claim(
        &self,
        turn: &Turn,
        product: &ProductName,
        version: &Version,
        image: Sha256,
    ) -> Result<Option<Held>, StoreError> {
        let key = layout::claim(product, version);
        let mut text = json!({ "version": version, "sha256": image }).to_string();
        text.push('\n');
        let bytes = Bytes::from(text);
        if let Some(tag) = self.bucket.create(turn, &key, bytes.clone()).await? {
            return Ok(Some(Held { key, tag }));
        }
        let (tag, other) = match self.bucket.read(&key, JSON_MAX_BYTES).await? {
            // Ours from a run that was killed, or of an answer that was lost.
            Read::Found(found) if found.bytes == bytes => return Ok(Some(Held { key, tag: found.tag })),
            Read::Found(found) => (found.tag, said(&found.bytes).filter(|other| other == version)),
            Read::TooLong(found) => (found.tag, None),
            Read::Missing => return Ok(None),
        };
        let began = Instant::now();
        while began.elapsed() < self.patience {
            tokio::time::sleep(LOOK_EVERY.min(self.patience)).await;
            let now = self.bucket.find(&key).await?;
            if now.is_none_or(|now| now.tag != tag) || self.is_committed(product, other.as_ref()).await? {
                return Ok(None);
            }
        }
        if self.bucket.replace(turn, &key, &tag, bytes).await?.is_some() {
            tracing::info!(store.key = key, "a claim that was not made good was taken over");
        }
        // Who had it may have replaced the image, or made it good just before: everything is looked at again.
        Ok(None)
    }

    async fn is_committed(
        &self,
        product: &ProductName,
        version: Option<&Version>,
    ) -> Result<bool, StoreError> {
        let Some(version) = version else { return Ok(false) };
        Ok(self.bucket.find(&Place::release(product, version).version()).await?.is_some())
    }

    /// Looks whose a claim is by now.
    pub(crate) async fn claimant(&self, held: &Held, version: &Version) -> Result<Claimant, StoreError> {
        Ok(match self.bucket.read(&held.key, JSON_MAX_BYTES).await? {
            Read::Found(found) if found.tag == held.tag => Claimant::Us,
            Read::Found(found) => match said(&found.bytes) {
                Some(other) if other.as_str() == version.as_str() => Claimant::SameSpelling,
                other => Claimant::Other(other),
            },
            Read::Missing | Read::TooLong(_) => Claimant::Other(None),
        })
    }
}

/// The version that a claim is for, as it is spelled there.
fn said(bytes: &[u8]) -> Option<Version> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    value.get("version")?.as_str()?.parse().ok()
}
