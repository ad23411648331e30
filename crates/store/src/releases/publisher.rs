//! Publishing: a gate, then `firmware.bin`, `metadata.json`, a look at both, and `version.txt`, which is the commit.

use bytes::Bytes;
use cause::store as causes;
use chrono::Utc;
use image::{ImageError, Summary};

use crate::error::StoreError;
use crate::releases::commit::{Outcome, Work};
use crate::releases::gate::facts::Facts;
use crate::releases::gate::judge::{Soundness, judge_sound};
use crate::releases::gate::verdict::Verdict;
use crate::releases::layout::{self, JSON_MAX_BYTES, Place};
use crate::releases::metadata::Metadata;
use crate::releases::publication::{NOTES_MAX_BYTES, Publication};
use crate::releases::release::Release;
use crate::store::Store;
use crate::tasks::{ROUNDS_MAX, off_the_async_threads};

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
    #[crate::boxed]
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
        let (soundness, alone) = off_the_async_threads(move || {
            let soundness = Soundness::of(&bytes, asked.file.as_deref());
            let alone = judge_sound(&bytes, &soundness, &asked, &Facts::default());
            (soundness, alone)
        })
        .await?;
        let slot = publication.slot.clone();
        match self.facts(&publication.product, alone.version.as_ref(), image, slot).await {
            Ok(facts) => {
                let (asked, bytes) = (publication.clone(), image.clone());
                off_the_async_threads(move || {
                    (judge_sound(&bytes, &soundness, &asked, &facts), soundness.parsed)
                })
                .await
            }
            // What is wrong with the image is wrong whatever the store holds.
            Err(_) if alone.is_refused() => Ok((alone, soundness.parsed)),
            Err(error) => Err(error),
        }
    }

    /// Publishes an image, or says all that the gate found. Can be killed at any point and run again.
    #[crate::boxed]
    pub async fn attempt(&self, publication: &Publication, image: Bytes) -> Result<Attempt, StoreError> {
        if publication.notes.as_ref().is_some_and(|notes| notes.len() > NOTES_MAX_BYTES) {
            let cause = causes::NOTES_TOO_LONG.with("kib", NOTES_MAX_BYTES / 1024);
            return Err(StoreError::Invalid(cause));
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
            place: Place::release(product, &version),
            version: version.clone(),
            image,
            sha256: contract::Sha256(summary.sha256),
            metadata: metadata.to_bytes().into(),
            chip: verdict.chip,
        };
        if work.metadata.len() as u64 > JSON_MAX_BYTES {
            return Err(StoreError::Invalid(causes::METADATA_TOO_LONG.cause()));
        }
        let attempt = async |lock| {
            Ok(match Box::pin(self.attempt_once(&lock, &work)).await? {
                Outcome::There { release, already_there } => {
                    let published = Published { release: *release, already_there, verdict: verdict.clone() };
                    Some(Attempt::Published(Box::new(published)))
                }
                Outcome::Taken(cause) => Some(Attempt::Refused(Box::new(verdict.clone().taken(cause)))),
                Outcome::Again => None,
            })
        };
        let done = self.bucket.in_rounds(&layout::releases(product), ROUNDS_MAX, attempt).await?;
        if let Some(done) = done {
            return Ok(done);
        }
        let cause = causes::PUBLISHED_BY_ANOTHER.naming("version", version).naming("product", product);
        Err(StoreError::corrupt(cause))
    }
}
