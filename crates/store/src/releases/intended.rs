//! Which image a release is intended to have, whatever bytes lie in it now.

use contract::{Sha256, Version};

use crate::error::StoreError;
use crate::objects::object::Read;
use crate::releases::layout::{JSON_MAX_BYTES, Place};
use crate::releases::metadata::Metadata;
use crate::store::Store;

/// Which image a release is intended to have.
pub(crate) struct Intended {
    /// The one that its `version.txt` was created for.
    pub(crate) marked: Option<Sha256>,
    /// The one that its metadata speaks of.
    pub(crate) said: Option<Sha256>,
    /// Whether that metadata can be this release's.
    is_about: bool,
}

impl Intended {
    /// Where no mark says it, metadata may.
    pub(crate) fn image(&self) -> Option<Sha256> {
        self.marked.or(self.said.filter(|_| self.is_about))
    }
}

impl Store {
    /// Whose a release is, whatever bytes lie in it now: the image that it was marked for. What metadata says is not enough:
    /// a script may have copied another release's.
    pub(crate) async fn intended(
        &self,
        place: &Place,
        version: &Version,
        marked: Option<Sha256>,
    ) -> Result<Intended, StoreError> {
        let metadata = match self.bucket.read(&place.metadata(), JSON_MAX_BYTES).await? {
            Read::Found(found) => Metadata::parse(&found.bytes),
            Read::Missing | Read::TooLong(_) => Metadata::default(),
        };
        Ok(Intended {
            marked,
            said: metadata.sha256(),
            is_about: metadata.version().as_ref() == Some(version),
        })
    }
}
