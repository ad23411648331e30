//! What stands behind the store, a bucket or a folder, and what one process keeps of it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use cause::Entry;
use flight::{Flight, Keyed};
use object_store::ObjectStore;
use object_store::aws::AmazonS3;
use tokio::sync::Mutex;

use crate::error::StoreError;
use crate::objects::cache::Cache;
use crate::objects::images::Images;
use crate::objects::location::S3Location;
use crate::objects::object::Found;
use crate::objects::tag::TagForm;

#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "a process has one or two of them")]
pub(crate) enum Backing {
    Folder(PathBuf),
    S3 { location: S3Location, s3: Arc<AmazonS3>, for_devices: Arc<AmazonS3> },
}

/// Whether other programs may write to the store at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// They may. Nothing is written to a bucket whose server has no conditional writes.
    Many,
    /// Where the server has no conditional writes, this process is the only one.
    One,
}

/// Whether a write can depend on what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conditions {
    /// The server compares and writes in one step, where it gets the tag in this form.
    Kept(TagForm),
    /// It writes in any case, or refuses what it should write; this is why nobody relies on it.
    Unreliable(Entry),
}

pub(crate) struct Bucket {
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) backing: Backing,
    pub(crate) cache: Cache,
    pub(crate) images: Images,
    /// Objects that are being looked at.
    pub(crate) looks: Keyed<Flight<Result<Option<Found>, StoreError>>>,
    /// Images that are being read into memory, or for their digest.
    pub(crate) readings: Keyed<Flight<()>>,
    /// Kept locked by this process's one writer of each thing where the server has no conditions: each has its own lock, so
    /// that a version can be blocked while an image's upload hangs.
    pub(crate) writing: Keyed<Mutex<()>>,
    pub(crate) writers: Writers,
    pub(crate) known_conditions: Mutex<Option<Conditions>>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl Bucket {
    pub(crate) fn new(objects: Arc<dyn ObjectStore>, backing: Backing, writers: Writers) -> Self {
        Self {
            objects,
            backing,
            cache: Cache::default(),
            images: Images::default(),
            looks: Keyed::default(),
            readings: Keyed::default(),
            writing: Keyed::default(),
            writers,
            known_conditions: Mutex::default(),
        }
    }

    /// What people call it.
    pub(crate) fn name(&self) -> String {
        match &self.backing {
            Backing::Folder(folder) => format!("the folder {}", folder.display()),
            Backing::S3 { location, .. } => format!("the bucket {}", location.bucket),
        }
    }
}
