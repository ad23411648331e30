//! Whether a bucket's server compares before it writes (`If-None-Match`, `If-Match`), which some compatible ones do not.
//!
//! Amazon's does. Any other is asked before the first write, by writes to [`PROBE`] that none with conditions lets through.
//! Without them one process alone may write, which says so when it opens the store ([`Writers::One`]).

use bytes::Bytes;
use cause::store as causes;
use object_store::{Error, ObjectStore, PutMode, PutOptions, UpdateVersion};

use crate::error::StoreError;
use crate::objects::bucket::{Backing, Bucket, Conditions, Writers};
use crate::objects::explain::{Action, explain};
use crate::objects::object::path;

/// Where it is tried out. It stays there, as Updraft deletes nothing.
const PROBE: &str = "updraft-probe";
const PROBE_TEXT: &str =
    "Updraft found out here whether this bucket keeps conditional writes. It may be deleted.\n";
/// An ETag that no object has.
const NO_TAG: &str = "\"00000000000000000000000000000000\"";

impl Bucket {
    /// Finds out once, for a write.
    pub(crate) async fn conditions(&self) -> Result<Conditions, StoreError> {
        if matches!(&self.backing, Backing::S3 { location, .. } if location.is_amazon()) {
            return Ok(Conditions::Kept);
        }
        let refused = || causes::NO_CONDITIONS.naming("place", self.name());
        let found = self.known_conditions.get_or_try_init(async || {
            let found = self.probe().await?;
            if found == Conditions::Ignored && self.writers == Writers::One {
                tracing::warn!("{}", refused());
            }
            Ok(found)
        });
        match (*found.await?, self.writers) {
            (Conditions::Ignored, Writers::Many) => Err(StoreError::Refused(refused())),
            (found, _) => Ok(found),
        }
    }

    async fn probe(&self) -> Result<Conditions, StoreError> {
        let same = UpdateVersion { e_tag: Some(NO_TAG.to_owned()), version: None };
        // The first may be written, as there was none: only the second must not.
        let is_kept = (self.refuses(PutMode::Create).await? || self.refuses(PutMode::Create).await?)
            && self.refuses(PutMode::Update(same)).await?;
        Ok(if is_kept { Conditions::Kept } else { Conditions::Ignored })
    }

    /// Whether a write is refused because of its condition.
    async fn refuses(&self, mode: PutMode) -> Result<bool, StoreError> {
        let options = PutOptions { mode, ..PutOptions::default() };
        let text = Bytes::from_static(PROBE_TEXT.as_bytes());
        match self.objects.put_opts(&path(PROBE)?, text.into(), options).await {
            Ok(_) => Ok(false),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(true),
            // As a code or a status: addresses and times have such digits too.
            Err(error)
                if ["<Code>NotImplemented", "501 Not Implemented"]
                    .iter()
                    .any(|it| error.to_string().contains(it)) =>
            {
                Ok(false)
            }
            Err(error) => Err(explain(&self.name(), Action::Write, PROBE, error)),
        }
    }
}
