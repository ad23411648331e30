//! The claim to a version: which image, under which spelling, is about to become its release.
//!
//! `1.0.0+a` and `1.0.0+b` are one version in two folders, so that no `version.txt` can decide between them. One object
//! does: it is created once per precedence, right before `version.txt`. It also comes before anybody replaces what
//! another publisher left unfinished, so that this one does not commit an image that is being replaced.
//!
//! A claim promises nothing for ever: it is taken over where it is not made good. So it is looked at again after the
//! commit, and who takes one over looks for a commit after that: of two, one at least sees the other. Who finds then that
//! another spelling is claimed waits until that is made good, and has lost, or takes the claim back, and has won.
//!
//! Only a bucket with conditional writes has claims. A folder needs none: there one writer at a time holds a lock.

use std::time::{Duration, Instant};

use bytes::Bytes;
use contract::{ProductName, Sha256, Version};
use serde_json::{Value, json};

use crate::error::StoreError;
use crate::objects::ensure::Written;
use crate::objects::object::Read;
use crate::objects::write::{Condition, Write};
use crate::objects::write_lock::WriteLock;
use crate::releases::layout::{self, JSON_MAX_BYTES, Place};
use crate::releases::release::Complete;
use crate::store::Store;

/// The time between two looks at what is waited for.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What is published of one precedence.
pub(crate) struct Existing {
    /// The release that counts.
    pub(crate) release: Complete,
    /// Another spelling, whose `version.txt` came after the claim had been taken over and made good by the one that counts.
    pub(crate) overtaken: Option<Version>,
    /// Whether another spelling is claimed and not there: somebody may be about to publish it.
    pub(crate) is_contested: bool,
}

impl Store {
    /// Claims a version for an image. `None`: somebody else has published it, or is about to; look at everything again.
    pub(crate) async fn claim(
        &self,
        lock: &WriteLock,
        product: &ProductName,
        version: &Version,
        image: Sha256,
    ) -> Result<Option<Written>, StoreError> {
        let key = layout::claim(product, version);
        let mut text = json!({ "version": version, "sha256": image }).to_string();
        text.push('\n');
        let bytes = Bytes::from(text);
        if let Some(tag) = self.bucket.put(lock, Write::new(&key, bytes.clone(), Condition::Absent)).await? {
            return Ok(Some(Written::new(key, bytes, tag, None)));
        }
        let (tag, other) = match self.bucket.read(&key, JSON_MAX_BYTES).await? {
            // Ours from a run that was killed, or of an answer that was lost.
            Read::Found(found) if found.bytes == bytes => {
                return Ok(Some(Written::new(key, bytes, found.tag, None)));
            }
            Read::Found(found) => (found.tag, said(&found.bytes).filter(|other| other == version)),
            Read::TooLong(found) => (found.tag, None),
            Read::Missing => return Ok(None),
        };
        let began = Instant::now();
        while began.elapsed() < self.unfinished_timeout {
            tokio::time::sleep(LOOK_EVERY.min(self.unfinished_timeout)).await;
            let now = self.bucket.find(&key).await?;
            if now.is_none_or(|now| now.tag != tag) || self.is_committed(product, other.as_ref()).await? {
                return Ok(None);
            }
        }
        if self.bucket.put(lock, Write::new(&key, bytes, Condition::Same(&tag))).await?.is_some() {
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

    /// What is published of a precedence. Of two spellings the one that is claimed counts, so that whoever asks is told
    /// the same, however often: its publisher saw after its commit that the claim was its own.
    pub(crate) async fn existing(
        &self,
        product: &ProductName,
        version: &Version,
    ) -> Result<Option<Existing>, StoreError> {
        let Some(release) = self.find_complete(product, version).await? else { return Ok(None) };
        let mut claimed = None;
        if !self.is_local()
            && let Read::Found(found) =
                self.bucket.read(&layout::claim(product, version), JSON_MAX_BYTES).await?
        {
            claimed = said(&found.bytes);
        }
        let is_other = |claimed: &Version| claimed == version && claimed.as_str() != release.version.as_str();
        let Some(claimed) = claimed.filter(is_other) else {
            return Ok(Some(Existing { release, overtaken: None, is_contested: false }));
        };
        Ok(Some(match self.complete(Place::release(product, &claimed), &claimed).await? {
            Some(other) => Existing { release: other, overtaken: Some(release.version), is_contested: false },
            None => Existing { release, overtaken: None, is_contested: true },
        }))
    }
}

/// The version that a claim is for, as it is spelled there.
fn said(bytes: &[u8]) -> Option<Version> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    value.get("version")?.as_str()?.parse().ok()
}
