//! Where the tests' stores are: a folder, or a bucket of one of the two servers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use contract::{ChannelName, ProductName, Version};
use image::Chip;
use image::build::Build;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tempfile::TempDir;
use updraft_store::{Options, Publication, Published, Release, Store, StoreError, Writers};

use crate::servers::{KEY_ID, SECRET, moto, strict};

/// A store of a test's own.
pub(crate) struct Place {
    pub(crate) store: Store,
    pub(crate) url: String,
    pub(crate) options: Options,
    /// What lies below the store, to put things there by hand.
    objects: Arc<dyn ObjectStore>,
    folder: Option<TempDir>,
}

impl Place {
    pub(crate) async fn folder() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = Options {
            public_url: Some("http://127.0.0.1:8080/".parse().expect("a URL")),
            signing_key: Some([42; 32]),
            environment: BTreeMap::new(),
            writers: Writers::Many,
        };
        let url = format!("file:{}", folder.path().join("store").display());
        Self::open(url, options, Some(folder)).await
    }

    /// A bucket in memory, which compares and writes in one step, and answers at once.
    pub(crate) async fn memory() -> Self {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (url, options) = ("s3://memory?region=us-east-1".to_owned(), s3_options());
        let store = open(&url, &options).await.through(|_| Arc::clone(&objects));
        Self { store, url, options, objects, folder: None }
    }

    /// A bucket of moto.
    pub(crate) async fn moto() -> Self {
        Self::behind(moto(), &moto_bucket().await).await
    }

    /// A bucket of s3s-fs, which checks signatures.
    pub(crate) async fn strict() -> Self {
        let bucket = bucket_name();
        std::fs::create_dir(strict().root.path().join(&bucket)).expect("a bucket is a folder there");
        Self::behind(&strict().url, &bucket).await
    }

    /// A bucket as it is reached through some address.
    pub(crate) async fn behind(endpoint: &str, bucket: &str) -> Self {
        Self::open(s3_url(endpoint, bucket), s3_options(), None).await
    }

    async fn open(url: String, options: Options, folder: Option<TempDir>) -> Self {
        let seen = Mutex::new(None);
        let store = open(&url, &options).await.through(|objects| {
            *seen.lock().expect("unpoisoned") = Some(Arc::clone(&objects));
            objects
        });
        let objects = seen.into_inner().expect("unpoisoned").expect("the store has objects");
        Self { store, url, options, objects, folder }
    }

    /// The same place as another process sees it, with nothing remembered.
    #[allow(clippy::unused_async, reason = "opening a store may come to ask it")]
    pub(crate) async fn again(&self) -> Store {
        self.store.clone().through(|objects| objects)
    }

    pub(crate) fn is_s3(&self) -> bool {
        self.folder.is_none()
    }

    /// Whether the server behind it is a full S3: every key, and listings in pages.
    pub(crate) fn is_moto(&self) -> bool {
        self.url.contains(moto())
    }

    /// The endpoint and the bucket, for programs that are not ours.
    pub(crate) fn address(&self) -> (&str, &str) {
        let (bucket, query) = self.url.trim_start_matches("s3://").split_once('?').expect("a bucket's URL");
        let endpoint = query.split('&').find_map(|pair| pair.strip_prefix("endpoint=")).expect("an endpoint");
        (endpoint, bucket)
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.folder.as_ref().expect("a folder store").path().join("store")
    }

    pub(crate) async fn put(&self, key: &str, bytes: impl Into<Bytes>) {
        self.objects.put(&Path::parse(key).expect("a key"), bytes.into().into()).await.expect("written");
    }

    pub(crate) async fn get(&self, key: &str) -> Option<Bytes> {
        match self.objects.get(&Path::parse(key).expect("a key")).await {
            Ok(result) => Some(result.bytes().await.expect("readable")),
            Err(object_store::Error::NotFound { .. }) => None,
            Err(error) => panic!("{key}: {error}"),
        }
    }

    pub(crate) async fn text(&self, key: &str) -> String {
        let bytes = self.get(key).await.unwrap_or_else(|| panic!("there is no {key}"));
        String::from_utf8(bytes.to_vec()).expect("text")
    }

    pub(crate) async fn delete(&self, key: &str) {
        self.objects.delete(&Path::parse(key).expect("a key")).await.expect("deleted");
    }

    pub(crate) async fn publish(&self, version: &str, image: &Bytes) -> Result<Published, StoreError> {
        publish(&self.store, version, image).await
    }

    /// As the list of another process has it.
    pub(crate) async fn release(&self, version: &str) -> Option<Release> {
        let releases = self.again().await.releases(&product()).await.expect("listed");
        releases.into_iter().find(|release| release.version == v(version))
    }

    pub(crate) async fn promote(&self, version: &str) -> Result<(), StoreError> {
        self.store.promote(&product(), &v(version), &ChannelName::production()).await.map(|_| ())
    }
}

/// What is unfinished counts as left over, as here nobody comes back to it.
async fn open(url: &str, options: &Options) -> Store {
    let store = Store::open(url, options.clone()).await.expect("the store opens");
    store.with_unfinished_after(Duration::ZERO)
}

pub(crate) async fn publish(store: &Store, version: &str, image: &Bytes) -> Result<Published, StoreError> {
    let publication = Publication { version: Some(v(version)), ..Publication::new(product()) };
    Box::pin(store.publish(&publication, image.clone())).await
}

/// That it was refused because of what the store holds, in a sentence with these words.
pub(crate) fn assert_refused<T: std::fmt::Debug>(said: Result<T, StoreError>, words: &str) {
    let error = said.expect_err(words);
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    assert!(error.to_string().contains(words), "{error}");
}

fn bucket_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("updraft-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A new bucket of moto.
pub(crate) async fn moto_bucket() -> String {
    let bucket = bucket_name();
    let made = reqwest_client().put(format!("{}/{bucket}", moto())).send().await.expect("moto answers");
    assert!(made.status().is_success(), "moto made no bucket: {}", made.status());
    bucket
}

pub(crate) fn s3_url(endpoint: &str, bucket: &str) -> String {
    format!("s3://{bucket}?region=us-east-1&endpoint={endpoint}&path_style=true")
}

pub(crate) fn s3_options() -> Options {
    let environment = [("AWS_ACCESS_KEY_ID", KEY_ID), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Options { public_url: None, signing_key: None, environment, writers: Writers::Many }
}

pub(crate) fn reqwest_client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

pub(crate) fn product() -> ProductName {
    "esp32s3".parse().expect("a product")
}

pub(crate) fn production() -> ChannelName {
    ChannelName::production()
}

pub(crate) fn v(text: &str) -> Version {
    text.parse().expect("a version")
}

/// Waits until it is so, at most a minute.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < Duration::from_mins(1), "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A small image; another seed makes other bytes.
pub(crate) fn image(chip: Chip, version: &str, seed: u64) -> Bytes {
    Build { seed, size_bytes: 4096, ..Build::new(chip, version) }.bytes().into()
}

pub(crate) fn s3_image(version: &str, seed: u64) -> Bytes {
    image(Chip::Esp32S3, version, seed)
}
