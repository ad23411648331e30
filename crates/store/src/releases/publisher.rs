//! Publishing: a gate, then `firmware.bin`, `metadata.json`, a look at both, and `version.txt`, which is the commit.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use contract::{ProductName, Version};
use image::{ImageError, Summary};
use tokio::sync::mpsc;

use crate::objects::ensure::{ROUNDS_MAX, pause};
use crate::objects::put::{Turn, to_its_end};
use crate::releases::catalog::Release;
use crate::releases::commit::{Outcome, Work};
use crate::releases::gate::{Check, Facts, Slot, Soundness, Verdict, judge_sound};
use crate::releases::layout::{self, JSON_MAX_BYTES};
use crate::releases::metadata::Metadata;
use crate::{Store, StoreError};

/// The most that the notes of a release may have, in bytes of UTF-8: percent-encoded they still fit into a request line.
pub const NOTES_MAX_BYTES: usize = 16 * 1024;

/// How often progress is told before anybody listens; an image has a few parts.
const TOLD_MAX: usize = 32;

/// What is to be published, besides the image itself.
#[derive(Debug, Clone)]
pub struct Publication {
    /// For which product.
    pub product: ProductName,
    /// As which version; `None` takes the image's own, if it has one.
    pub version: Option<Version>,
    /// Checks of the gate that a person overrules.
    pub allow: Vec<Check>,
    /// What the person calls the file, for a command that works on it.
    pub file: Option<String>,
    /// What is new.
    pub notes: Option<String>,
    /// Git commit.
    pub commit: Option<String>,
    /// Git tag at that commit.
    pub tag: Option<String>,
    /// Whether what was built differed from that commit.
    pub dirty: Option<bool>,
    /// When the image was built; `None` is what its own descriptor says, if it does.
    pub built_at: Option<DateTime<Utc>>,
    /// The lowest version that may update to this one directly.
    pub requires: Option<Version>,
    /// The smallest slot of the product's devices, where a server knows them.
    pub slot: Option<Slot>,
}

impl Publication {
    /// An image of a product, of which nothing else is said.
    pub fn new(product: ProductName) -> Self {
        Self {
            product,
            version: None,
            allow: Vec::new(),
            file: None,
            notes: None,
            commit: None,
            tag: None,
            dirty: None,
            built_at: None,
            requires: None,
            slot: None,
        }
    }
}

/// What came of publishing.
#[derive(Debug, Clone)]
pub struct Published {
    /// The release, as it is in the store.
    pub release: Release,
    /// Whether these very bytes had been published before, and nothing was changed.
    pub already_there: bool,
    /// What the gate found, none of which refuses it.
    pub verdict: Verdict,
}

/// What came of trying to publish.
#[derive(Debug, Clone)]
pub enum Attempt {
    /// It is published.
    Published(Box<Published>),
    /// The gate refuses it; nothing was written.
    Refused(Box<Verdict>),
}

impl Store {
    /// What the gate says of an image. Reads, and writes nothing.
    pub async fn judge(&self, publication: &Publication, image: &Bytes) -> Result<Verdict, StoreError> {
        self.verdict(publication, image).await.map(|(verdict, _)| verdict)
    }

    /// Judging takes its time, and is not done where others are waiting to be served.
    async fn verdict(
        &self,
        publication: &Publication,
        image: &Bytes,
    ) -> Result<(Verdict, Result<Summary, ImageError>), StoreError> {
        let (asked, bytes) = (publication.clone(), image.clone());
        // Of what is known without the store only the version is needed: it says which release to look for.
        let (soundness, alone) = aside(move || {
            let soundness = Soundness::of(&bytes, asked.file.as_deref());
            let alone = judge_sound(&bytes, &soundness, &asked, &Facts::default());
            (soundness, alone)
        })
        .await?;
        let slot = publication.slot.clone();
        match self.facts(&publication.product, alone.version.as_ref(), image, slot).await {
            Ok(facts) => {
                let (asked, bytes) = (publication.clone(), image.clone());
                aside(move || (judge_sound(&bytes, &soundness, &asked, &facts), soundness.into_parsed()))
                    .await
            }
            // What is wrong with the image is wrong whatever the store holds.
            Err(_) if alone.is_refused() => Ok((alone, soundness.into_parsed())),
            Err(error) => Err(error),
        }
    }

    /// Publishes an image, or says in a sentence why not. Can be killed at any point and run again.
    ///
    /// `progress` is told how many bytes of the image are in the store.
    pub async fn publish(
        &self,
        publication: &Publication,
        image: Bytes,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Published, StoreError> {
        match self.attempt(publication, image, progress).await? {
            Attempt::Published(published) => Ok(*published),
            Attempt::Refused(verdict) => Err(verdict.error().unwrap_or_else(no_version)),
        }
    }

    /// [`Self::publish`] for who wants all that the gate found.
    pub async fn attempt(
        &self,
        publication: &Publication,
        image: Bytes,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Attempt, StoreError> {
        if publication.notes.as_ref().is_some_and(|notes| notes.len() > NOTES_MAX_BYTES) {
            return Err(StoreError::Invalid(format!(
                "the notes are longer than {} KiB; say the most important things there, and link to the rest",
                NOTES_MAX_BYTES / 1024
            )));
        }
        let (verdict, parsed) = self.verdict(publication, &image).await?;
        let (false, Ok(summary), Some(version)) = (verdict.is_refused(), parsed, verdict.version.clone())
        else {
            return Ok(Attempt::Refused(Box::new(verdict)));
        };
        let product = &publication.product;
        let metadata = Metadata::of(publication, &version, &summary, &verdict.signers, Utc::now());
        let work = Work {
            product: product.clone(),
            version: version.clone(),
            image,
            sha256: contract::Sha256(summary.sha256),
            metadata: metadata.to_bytes().into(),
            chip: verdict.chip,
        };
        if work.metadata.len() as u64 > JSON_MAX_BYTES {
            return Err(StoreError::Invalid("metadata.json would exceed 1 MiB".to_owned()));
        }
        for _ in 0..ROUNDS_MAX {
            let turn = self.bucket.turn(&layout::releases(product)).await?;
            match self.attempt_to_its_end(turn, work.clone(), progress).await? {
                Outcome::Done(release) => return Ok(Attempt::done(release, false, verdict)),
                Outcome::AlreadyThere(release) => return Ok(Attempt::done(release, true, verdict)),
                Outcome::Taken(sentence) => return Ok(Attempt::Refused(Box::new(verdict.taken(sentence)))),
                Outcome::Again => pause().await,
            }
        }
        Err(StoreError::damaged(format!(
            "somebody else is publishing {version} of {product} at the same time; run this again"
        )))
    }

    /// One attempt, which goes on if whoever asked goes away.
    async fn attempt_to_its_end(
        &self,
        turn: Turn,
        work: Work,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Outcome, StoreError> {
        let (tell, mut told) = mpsc::channel(TOLD_MAX);
        let store = self.clone();
        let attempt = to_its_end(async move {
            // Nobody may be left to be told.
            let tell = move |bytes| tell.try_send(bytes).unwrap_or(());
            store.attempt_once(&turn, &work, &tell).await
        });
        tokio::pin!(attempt);
        loop {
            tokio::select! {
                biased;
                Some(bytes) = told.recv() => progress(bytes),
                outcome = &mut attempt => {
                    while let Ok(bytes) = told.try_recv() {
                        progress(bytes);
                    }
                    return outcome;
                }
            }
        }
    }
}

impl Attempt {
    fn done(release: Release, already_there: bool, verdict: Verdict) -> Self {
        Self::Published(Box::new(Published { release, already_there, verdict }))
    }
}

/// Does what takes long beside those who are being served.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| StoreError::damaged("judging the image broke off; run this again"))
}

/// The gate finds that there is no version before anybody else asks for it.
fn no_version() -> StoreError {
    StoreError::Invalid("say which version it is with --version".to_owned())
}
