//! Where the tests' stores are: a folder, or a bucket of a moto server that ends with this process.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use contract::{ChannelName, ProductName, Version};
use image::Chip;
use image::build::Build;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tempfile::TempDir;
use updraft_store::{Options, Publication, Published, Store, StoreError};

/// Ends when its standard input does, which is when this process ends, however it ends. Writes take turns in it: S3
/// compares an If-Match and writes in one step, moto in two, between which another writer's object was lost.
const MOTO: &str = "
import logging, sys, threading
logging.getLogger('werkzeug').setLevel(logging.ERROR)
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
backend, one_writer = DomainDispatcherApplication(create_backend_app), threading.Lock()
def application(request, respond):
    if request['REQUEST_METHOD'] != 'PUT':
        return backend(request, respond)
    with one_writer:
        return list(backend(request, respond))
server = make_server('127.0.0.1', 0, application, threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
";

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
        };
        let url = format!("file:{}", folder.path().join("store").display());
        Self::open(url, options, Some(folder)).await
    }

    pub(crate) async fn s3() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let endpoint = moto();
        let bucket = format!("updraft-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let made = reqwest_client().put(format!("{endpoint}/{bucket}")).send().await.expect("moto answers");
        assert!(made.status().is_success(), "moto made no bucket: {}", made.status());
        let url = format!("s3://{bucket}?region=us-east-1&endpoint={endpoint}&path_style=true");
        Self::open(url, s3_options(), None).await
    }

    async fn open(url: String, options: Options, folder: Option<TempDir>) -> Self {
        let seen = Mutex::new(None);
        let store = Store::open(&url, options.clone()).await.expect("the store opens").through(|objects| {
            *seen.lock().expect("unpoisoned") = Some(Arc::clone(&objects));
            objects
        });
        let objects = seen.into_inner().expect("unpoisoned").expect("the store has objects");
        Self { store, url, options, objects, folder }
    }

    /// The same place, opened again: another process's view, with nothing remembered.
    pub(crate) async fn again(&self) -> Store {
        Store::open(&self.url, self.options.clone()).await.expect("the store opens")
    }

    pub(crate) fn is_s3(&self) -> bool {
        self.folder.is_none()
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

    pub(crate) async fn promote(&self, version: &str) -> Result<(), StoreError> {
        self.store.promote(&product(), &v(version), &ChannelName::production()).await
    }
}

pub(crate) async fn publish(store: &Store, version: &str, image: &Bytes) -> Result<Published, StoreError> {
    let publication = Publication { version: Some(v(version)), ..Publication::new(product()) };
    store.publish(&publication, image.clone(), &|_| ()).await
}

pub(crate) fn s3_options() -> Options {
    let environment = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Options { public_url: None, signing_key: None, environment }
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

/// A small image; another seed makes other bytes.
pub(crate) fn image(chip: Chip, version: &str, seed: u64) -> Bytes {
    Build { seed, size_bytes: 4096, ..Build::new(chip, version) }.bytes().into()
}

pub(crate) fn s3_image(version: &str, seed: u64) -> Bytes {
    image(Chip::Esp32S3, version, seed)
}

/// The address of the one moto server.
pub(crate) fn moto() -> &'static str {
    static MOTO_URL: OnceLock<String> = OnceLock::new();
    MOTO_URL.get_or_init(|| {
        let mut child = Command::new("python3")
            .args(["-c", MOTO])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is needed for the S3 tests: install Python 3");
        let stdout = child.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("readable");
        let port: u16 = line.trim().parse().unwrap_or_else(|_| {
            panic!("moto is needed for the S3 tests: pip install 'moto[server,s3]' boto3")
        });
        // Its standard input stays open for as long as this process lives.
        std::mem::forget(child);
        format!("http://127.0.0.1:{port}")
    })
}
