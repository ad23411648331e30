//! Whether a bucket's server keeps conditional writes, which some compatible ones do not.
//!
//! Amazon's does, so it is not asked. Any other is asked before the first write, never for reading: two writes to
//! [`PROBE`] that no server with conditions lets through. Where there are none, every write is preceded and followed by
//! a look, the blocked list is looked at again a moment later, and one process writes one object at a time. Then two
//! programs that write within the same fraction of a second can still undo each other's write unseen: of two
//! publishers both may believe to have won, two spellings of one version may both become releases, as nothing is claimed
//! there, and the later promote or block wins. What a device is given stays whole all the same, as `version.txt` is
//! written last, and only beside an image that was read back.

use bytes::Bytes;
use cause::{Cause, store as causes};
use object_store::{ObjectStore, PutMode, PutOptions, UpdateVersion};

use crate::error::StoreError;
use crate::objects::bucket::{Backing, Bucket, Conditions};
use crate::objects::explain::{Action, explain};
use crate::objects::object::path;

/// Where it is tried out. It stays there, as Updraft deletes nothing.
pub(crate) const PROBE: &str = "updraft-probe";
const PROBE_TEXT: &str =
    "Updraft found out here whether this bucket keeps conditional writes. It may be deleted.\n";
/// An ETag that no object has.
const NO_TAG: &str = "\"00000000000000000000000000000000\"";

impl Bucket {
    /// Finds out once, for a write.
    pub(crate) async fn conditions(&self) -> Result<Conditions, StoreError> {
        if self.is_known_to_keep_them() {
            return Ok(Conditions::Kept);
        }
        let found = self.known_conditions.get_or_try_init(async || {
            let found = self.probe().await?;
            self.warn_of(found);
            Ok(found)
        });
        found.await.copied()
    }

    /// Finds out before anything is to be written. That we may not write where it is found out is nothing to warn of yet:
    /// perhaps we only read.
    pub(crate) async fn prepare(&self) -> Result<(), StoreError> {
        if self.is_known_to_keep_them() || self.known_conditions.initialized() {
            return Ok(());
        }
        let found = self.probe().await?;
        if found != Conditions::Unknown && self.known_conditions.set(found).is_ok() {
            self.warn_of(found);
        }
        Ok(())
    }

    fn is_known_to_keep_them(&self) -> bool {
        match &self.backing {
            Backing::Folder(_) => true,
            Backing::S3 { location, .. } => location.is_amazon(),
        }
    }

    fn warn_of(&self, found: Conditions) {
        if let Some(warning) = self.warning_of(found) {
            tracing::warn!("{warning}");
        }
    }

    /// What was found out; `None` before the first write.
    pub(crate) fn warning(&self) -> Option<Cause> {
        self.warning_of(*self.known_conditions.get()?)
    }

    fn warning_of(&self, found: Conditions) -> Option<Cause> {
        let cause = match found {
            Conditions::Kept => return None,
            Conditions::Ignored => causes::NO_CONDITIONS.cause(),
            Conditions::Unknown => causes::CONDITIONS_UNKNOWN.naming("probe", PROBE),
        };
        Some(cause.naming("place", self.name()))
    }

    async fn probe(&self) -> Result<Conditions, StoreError> {
        let same = UpdateVersion { e_tag: Some(NO_TAG.to_owned()), version: None };
        // It may be written the first time, as there was none: only the second time it must not.
        let absent = match self.try_condition(PutMode::Create).await? {
            Conditions::Ignored => self.try_condition(PutMode::Create).await?,
            found => found,
        };
        if absent == Conditions::Kept { self.try_condition(PutMode::Update(same)).await } else { Ok(absent) }
    }

    /// How one conditional write is answered that must not take place.
    async fn try_condition(&self, mode: PutMode) -> Result<Conditions, StoreError> {
        let options = PutOptions { mode, ..PutOptions::default() };
        let (to, text) = (path(PROBE)?, Bytes::from_static(PROBE_TEXT.as_bytes()));
        let written = self.objects.put_opts(&to, text.into(), options);
        let Err(error) = written.await else { return Ok(Conditions::Ignored) };
        let text = error.to_string();
        Ok(match error {
            object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } => {
                Conditions::Kept
            }
            object_store::Error::PermissionDenied { .. } if text.contains("AccessDenied") => {
                Conditions::Unknown
            }
            // As a code or a status: addresses and times have such digits too.
            _ if text.contains("<Code>NotImplemented") || text.contains("501 Not Implemented") => {
                Conditions::Ignored
            }
            error => return Err(explain(&self.name(), Action::Write, PROBE, error)),
        })
    }
}
