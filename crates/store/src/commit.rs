//! Which of several publishers of one version wins, and that its image then stays.
//!
//! `version.txt` is created once, and carries the digest of the image it was created for (as S3's user metadata), so
//! that everybody knows who won, whatever was written beside it. Who finds another image and no `version.txt` does
//! not write at once: somebody may be about to commit, and what is unfinished for a moment is left alone for so long.
//! A publisher that stalls for longer than that and then wins may find its image replaced: whoever replaced it gives it
//! back, and if that one is killed, publishing the winner's image again repairs the release.
//!
//! A folder needs none of this: there writers take turns.

use std::time::{Duration, Instant};

use bytes::Bytes;
use contract::{ProductName, Sha256, Version};

use crate::bucket::Read;
use crate::catalog::Release;
use crate::gate::taken_sentence;
use crate::layout::{FIRMWARE_MAX_BYTES, JSON_MAX_BYTES, Place};
use crate::metadata::Metadata;
use crate::put::Turn;
use crate::settle::Settled;
use crate::{Store, StoreError};

/// How long another publisher's unfinished release is waited for: a few times what reading an image back and two small
/// writes take on a slow line.
pub(crate) const UNFINISHED_PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl Store {
    /// Waits while another publisher may be about to commit. True: what lies there is left over and may be replaced,
    /// or nothing does. False: something has changed.
    pub(crate) async fn is_left_over(&self, place: &Place, image: &Bytes) -> Result<bool, StoreError> {
        if self.is_local() {
            return Ok(true);
        }
        let Some(found) = self.bucket.find(&place.firmware()).await? else { return Ok(true) };
        if found.size == image.len() as u64 && self.bucket.digest(&found).await? == crate::sha256(image) {
            return Ok(true);
        }
        let began = Instant::now();
        while began.elapsed() < self.patience {
            tokio::time::sleep(LOOK_EVERY.min(self.patience)).await;
            let now = self.bucket.find(&place.firmware()).await?;
            let is_committed = self.bucket.find(&place.version()).await?.is_some();
            if is_committed || now.is_none_or(|now| now.tag != found.tag) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes `version.txt` if the other two are what they should be. False: somebody else came in between.
    pub(crate) async fn commit(
        &self,
        turn: &Turn,
        place: &Place,
        version: &Version,
        firmware: Settled,
        metadata: Settled,
    ) -> Result<bool, StoreError> {
        let bucket = &self.bucket;
        let ours = crate::sha256(firmware.bytes());
        let is_whole = bucket.reads_back(&firmware).await? && bucket.reads_back(&metadata).await?;
        if is_whole {
            let text = format!("{version}\n");
            if bucket.create_marked(turn, &place.version(), text.into(), &ours.to_string()).await?.is_some() {
                // From here on the release exists, and nobody else begins to write it. Who had begun may still.
                bucket.defend(turn, &firmware).await?;
                bucket.defend(turn, &metadata).await?;
                return Ok(true);
            }
        }
        // An answer that was lost on its way makes our own version.txt look like another's.
        if let Some(winner) = self.winner(place).await?
            && winner != Some(ours)
        {
            bucket.give_back(turn, firmware).await?;
            bucket.give_back(turn, metadata).await?;
        }
        Ok(false)
    }

    /// Whether there is a `version.txt`, and for which image it was made if it says so.
    async fn winner(&self, place: &Place) -> Result<Option<Option<Sha256>>, StoreError> {
        let mark = self.bucket.mark(&place.version()).await?;
        Ok(mark.map(|mark| mark.and_then(|text| Sha256::from_hex(&text))))
    }

    /// Whose a release is, whatever bytes lie in it now: the image that it was marked for. What metadata says is not enough:
    /// a script may have copied another release's.
    pub(crate) async fn owner(&self, place: &Place) -> Result<Option<Sha256>, StoreError> {
        Ok(self.winner(place).await?.flatten())
    }

    async fn said(&self, place: &Place) -> Result<Option<Sha256>, StoreError> {
        Ok(match self.bucket.read(&place.metadata(), JSON_MAX_BYTES).await? {
            Read::Found(found) => Metadata::parse(&found.bytes).sha256(),
            Read::Missing | Read::TooLong(_) => None,
        })
    }

    /// The release of that precedence, if it has these bytes; refused if it has others; `None` if there is none. Of a
    /// release that is this image's and was damaged, what is damaged is written again.
    pub(crate) async fn published(
        &self,
        turn: &Turn,
        product: &ProductName,
        version: &Version,
        image: &Bytes,
        metadata: &Bytes,
    ) -> Result<Option<Release>, StoreError> {
        let Some((place, spelled)) = self.find_release(product, version).await? else { return Ok(None) };
        let ours = crate::sha256(image);
        let said = self.said(&place).await?;
        let marked = self.owner(&place).await?;
        let is_same = match self.bucket.read(&place.firmware(), FIRMWARE_MAX_BYTES).await? {
            Read::Missing => return Err(gone(&place)),
            Read::Found(found) => found.bytes == *image,
            Read::TooLong(_) => false,
        };
        let is_ours = marked.map_or(is_same, |winner| winner == ours);
        if let (true, false, Some(winner)) = (is_same, is_ours, marked) {
            return Err(StoreError::Refused(format!(
                "version {spelled} of {product} is already published with other bytes (sha256 {winner}), which this \
                 image replaced when it was published at the same time: publish those bytes again, which repairs it, \
                 and this image under a higher version"
            )));
        }
        if !is_ours {
            return Err(StoreError::Refused(taken_sentence(product, &spelled)));
        }
        if !is_same {
            tracing::warn!(store.key = place.firmware(), "its image was replaced, and is put back");
            self.bucket.settle(turn, place.firmware(), image.clone(), FIRMWARE_MAX_BYTES).await?;
        }
        if marked.is_some() && said.is_some_and(|said| said != ours) {
            tracing::warn!(store.key = place.metadata(), "it spoke of another image, and is put back");
            self.bucket.settle(turn, place.metadata(), metadata.clone(), JSON_MAX_BYTES).await?;
        }
        let described = self.describe(&place, &spelled).await?;
        Ok(Some(described.ok_or_else(|| gone(&place))?.release(spelled)))
    }
}

pub(crate) fn gone(place: &Place) -> StoreError {
    StoreError::damaged(format!("{} has gone; look who removed it, and restore it", place.firmware()))
}
