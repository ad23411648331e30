//! What stands behind the store, a bucket or a folder, and what one process keeps of it.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use object_store::ObjectStore;
use object_store::aws::AmazonS3;
use tokio::sync::{OnceCell, watch};

use crate::objects::cache::Cache;
use crate::objects::images::Images;
use crate::objects::location::S3Location;

#[derive(Clone)]
pub(crate) enum Backing {
    Folder(PathBuf),
    S3 { location: S3Location, s3: Arc<AmazonS3> },
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
    /// The server compares and writes in one step.
    Kept,
    /// It writes in any case, or refuses to write at all if there is a condition.
    Ignored,
}

pub(crate) struct Bucket {
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) backing: Backing,
    pub(crate) cache: Cache,
    pub(crate) images: Images,
    /// Images that are being read for their digest, by key.
    pub(crate) readings: Mutex<HashMap<String, watch::Receiver<()>>>,
    /// Kept locked by this process's one writer of each thing where the server has no conditions.
    pub(crate) writing: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    pub(crate) writers: Writers,
    pub(crate) known_conditions: OnceCell<Conditions>,
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
            readings: Mutex::default(),
            writing: Mutex::default(),
            writers,
            known_conditions: OnceCell::new(),
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
