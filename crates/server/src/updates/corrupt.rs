//! Images that were found not to be what was published, so that the decisions that follow say it in its place and none of
//! them reads the image again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use cause::Cause;
use store::Artifact;

/// Maximum number of images that are remembered. Others are found again when they are read.
const IMAGES_MAX: usize = 256;

/// By key: as which object it was found, and what is wrong with it.
#[derive(Debug, Default)]
pub(crate) struct CorruptImages(Mutex<HashMap<String, (Artifact, Cause)>>);

impl CorruptImages {
    /// What is wrong with an image, if that is known. One that was replaced or described again since is another one.
    pub(super) fn of(&self, artifact: &Artifact) -> Option<Cause> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        found.get(&artifact.key).filter(|(then, _)| then == artifact).map(|(_, why)| why.clone())
    }

    /// Remembers it.
    pub(super) fn note(&self, artifact: &Artifact, why: &Cause) {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if found.len() >= IMAGES_MAX {
            found.clear();
        }
        found.insert(artifact.key.clone(), (artifact.clone(), why.clone()));
    }
}
