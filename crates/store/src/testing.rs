//! For tests: a store whose operations are seen, delayed, cut off or torn by a hook, and one word for what a command does.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, Extensions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::Semaphore;

use crate::error::StoreError;
use crate::objects::bucket::Bucket;
use crate::releases::blocked::file::BlockedFile;
use crate::releases::metadata::Metadata;
use crate::releases::product::ProductFile;
use crate::releases::publication::Publication;
use crate::releases::publisher::{Attempt, Published};
use crate::store::Store;

impl Store {
    /// The same store with its reads and writes going through what `wrap` makes of it: to count them, to slow them
    /// down or to cut them off.
    #[must_use]
    pub fn through(self, wrap: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>) -> Self {
        let Bucket { objects, backing, writers, .. } = &*self.bucket;
        let bucket = Bucket::new(wrap(Arc::clone(objects)), backing.clone(), *writers);
        Self { bucket: Arc::new(bucket), ..self }
    }

    /// The same store, to which another publisher's unfinished image counts as left over after so long; ten minutes unless
    /// this is said.
    #[must_use]
    pub fn with_unfinished_after(self, unfinished_after: Duration) -> Self {
        Self { unfinished_after, ..self }
    }

    /// Publishes an image, or says in a sentence why not. Can be killed at any point and run again.
    pub async fn publish(&self, publication: &Publication, image: Bytes) -> Result<Published, StoreError> {
        match self.attempt(publication, image).await? {
            Attempt::Published(published) => Ok(*published),
            // The gate finds that there is no version before anybody else asks for it.
            Attempt::Refused(verdict) => Err(verdict
                .error()
                .unwrap_or_else(|| StoreError::Invalid(cause::gate::NO_VERSION.with("missing", "yes")))),
        }
    }
}

/// Reads bytes as each of the small files of the store, as a fuzz target does. What was read is written back as it was.
pub fn read_small_files(bytes: &[u8]) {
    if let Ok(metadata) = Metadata::parse(bytes) {
        let version = contract::Version::from_bytes(b"1.2.0").expect("a version");
        let _ = (metadata.requires(), metadata.contradiction(&version, 7), metadata.time("built_at"));
        assert_eq!(Metadata::parse(&metadata.to_bytes()), Ok(metadata));
    }
    if let Ok(list) = BlockedFile::parse(bytes) {
        assert_eq!(BlockedFile::parse(&list.to_bytes()).map(|again| again.list()), Ok(list.list()));
    }
    let _ = ProductFile::parse(bytes);
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A write.
    Put,
    /// A read, of the content or of the head alone.
    Get,
    /// A listing of all that lies below a key.
    List,
    /// A listing of the names right below a key.
    Folders,
}

/// One operation, before it takes place.
#[derive(Debug, Clone)]
pub struct Operation {
    /// What is done.
    pub kind: Kind,
    /// To which key; of a listing, below which: "" is the top.
    pub key: String,
}

/// What becomes of an operation.
#[derive(Debug)]
pub enum Fate {
    /// It takes place.
    Done,
    /// It fails and does not take place.
    Failed,
    /// It takes place, and is answered with an error. A read just fails.
    AnswerLost,
    /// Half of what is written arrives, without an error. Writes only.
    Torn,
    /// It takes place after this time, whether anybody waits for it or not, as on a blocking thread; then `ended` gets a
    /// permit. Writes only.
    Detached {
        /// How long it takes.
        after: Duration,
        /// Gets a permit when it has taken place.
        ended: Arc<Semaphore>,
    },
}

type Hook = dyn Fn(Operation) -> BoxFuture<'static, Fate> + Send + Sync;

/// Objects behind a hook, which is asked before each operation and may wait as long as it likes. Copies, deletions and
/// uploads in parts pass by it.
pub struct FaultyStore {
    objects: Arc<dyn ObjectStore>,
    hook: Box<Hook>,
}

impl FaultyStore {
    /// Puts a hook before some objects; for [`crate::Store::through`].
    pub fn before<F: Future<Output = Fate> + Send + 'static>(
        objects: Arc<dyn ObjectStore>,
        hook: impl Fn(Operation) -> F + Send + Sync + 'static,
    ) -> Arc<dyn ObjectStore> {
        Arc::new(Self { objects, hook: Box::new(move |operation| Box::pin(hook(operation))) })
    }

    async fn fate(&self, kind: Kind, key: &Path) -> Result<Fate> {
        let key = key.to_string();
        match (self.hook)(Operation { kind, key }).await {
            Fate::Failed => Err(cut_off()),
            Fate::AnswerLost if kind != Kind::Put => Err(cut_off()),
            fate => Ok(fate),
        }
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, behind a hook", self.objects)
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, to: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let fate = self.fate(Kind::Put, to).await?;
        // What arrives is a copy, as on the other end of a line.
        let bytes = Bytes::from(payload.iter().flatten().copied().collect::<Vec<u8>>());
        drop(payload);
        match fate {
            // By a store that holds nothing against a checksum.
            Fate::Torn => {
                let options = PutOptions { extensions: Extensions::new(), ..options };
                self.objects.put_opts(to, bytes.slice(..bytes.len() / 2).into(), options).await
            }
            Fate::AnswerLost => {
                self.objects.put_opts(to, bytes.into(), options).await?;
                Err(cut_off())
            }
            Fate::Detached { after, ended } => {
                let (objects, to) = (Arc::clone(&self.objects), to.clone());
                let write = tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    let written = objects.put_opts(&to, bytes.into(), options).await;
                    ended.add_permits(1);
                    written
                });
                write.await.expect("no panic")
            }
            Fate::Done | Fate::Failed => self.objects.put_opts(to, bytes.into(), options).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.objects.put_multipart_opts(to, options).await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        self.fate(Kind::Get, from).await?;
        self.objects.get_opts(from, options).await
    }

    fn delete_stream(&self, all: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.objects.delete_stream(all)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let key = prefix.map(ToString::to_string).unwrap_or_default();
        let fate = (self.hook)(Operation { kind: Kind::List, key });
        let listed = self.objects.list(prefix);
        let passed = async move {
            match fate.await {
                Fate::Failed | Fate::AnswerLost => futures_util::stream::iter([Err(cut_off())]).boxed(),
                _ => listed,
            }
        };
        futures_util::stream::once(passed).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.fate(Kind::Folders, prefix.unwrap_or(&Path::ROOT)).await?;
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}

fn cut_off() -> Error {
    Error::Generic { store: "test", source: "cut off".into() }
}
