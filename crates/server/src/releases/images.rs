//! Reading images, each once for each content of its object: what its bytes are, and whether a device could run them. Nothing is
//! offered before. A task reads what is new in the bucket, and a check reads what it meets first.

use std::sync::Arc;
use std::time::Duration;

use cause::{Cause, decision, store as causes};
use contract::ProductName;
use store::{Artifact, Facts, Inspection};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::service::Releases;
use crate::db::image;
use crate::error::Error;

/// After a failure.
const AGAIN_AFTER: Duration = Duration::from_mins(1);
/// At most this long an image is read: 16 MiB on a slow line.
const READING_TIMEOUT: Duration = Duration::from_mins(10);

/// Whether what was read of an artifact's bytes is what was said of it, and passes the checks that nobody may overrule; or why it
/// is offered to nobody. Whatever offers an image asks this first.
pub(crate) fn admit(
    product: &ProductName,
    artifact: &Artifact,
    read: &Inspection,
    guard: &Facts,
) -> Result<(), Cause> {
    let (key, version) = (&artifact.key, &artifact.version);
    if let Some(said) = artifact.sha256.filter(|said| *said != read.sha256) {
        let cause = decision::OTHER_BYTES.naming("key", key).naming("version", version);
        return Err(cause.naming("sha256", read.sha256).naming("expected", said));
    }
    match read.refusal(product, version, guard) {
        Some(why) => Err(decision::UNFIT.naming("key", key).naming("version", version).naming("why", why)),
        None => Ok(()),
    }
}

impl Releases {
    /// Reads what is new in the bucket, until `stop` is cancelled.
    pub(crate) async fn read_images_forever(self, stop: CancellationToken) {
        let mut changes = self.mirror().changes();
        loop {
            changes.mark_unchanged();
            let read = tokio::select! {
                () = stop.cancelled() => return,
                read = self.read_images() => read,
            };
            let pause = match read {
                Ok(()) => Duration::MAX,
                Err(error) => {
                    tracing::warn!("images were not read, and will be: {error:#}");
                    AGAIN_AFTER
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    /// One that cannot be read stops no other.
    async fn read_images(&self) -> anyhow::Result<()> {
        let mut failed = None;
        for unread in image::unread(&self.0.db).await? {
            let key = unread.key.clone();
            match self.read_image(unread).await {
                Some(Ok(None)) => self.0.db.note_gone(&key).await?,
                Some(Err(error)) => failed = Some(error),
                Some(Ok(Some(_))) | None => {}
            }
        }
        failed.map_or(Ok(()), |error| Err(anyhow::anyhow!("{error}")))
    }

    /// What is known of an artifact's bytes, if it was read as it is now.
    pub(crate) async fn inspected(&self, artifact: &Artifact) -> Result<Option<Inspection>, Error> {
        let known = image::inspection(&self.0.db, &artifact.key).await?;
        Ok(known.filter(|known| known.is_of(&artifact.content)))
    }

    /// The same, after it was read where it was not; or why it is not known within this time.
    pub(crate) async fn inspect(
        &self,
        product: &ProductName,
        artifact: &Artifact,
        longest: Duration,
    ) -> Result<Result<Inspection, Cause>, Error> {
        if let Some(known) = self.inspected(artifact).await? {
            return Ok(Ok(known));
        }
        let key = || artifact.key.as_str();
        let unread = image::Unread {
            key: artifact.key.clone(),
            product: product.clone(),
            version: artifact.version.clone(),
            sha256: artifact.sha256,
        };
        let read = timeout(longest, self.read_image(unread)).await.ok().flatten();
        Ok(match read {
            Some(Ok(Some(read))) if read.content == artifact.content => Ok(read),
            Some(Ok(_)) => Err(causes::REPLACED.with("key", key())),
            Some(Err(error)) => match error.cause() {
                Some(cause) => Err(cause.clone()),
                None => return Err(Error::Internal(anyhow::anyhow!("{error}"))),
            },
            None => {
                let cause = causes::READ_FIRST.with("key", key()).naming("version", &artifact.version);
                Err(cause.with("seconds", longest.as_secs()))
            }
        })
    }

    /// Reads an image and notes what it is, once for all who ask. It goes on when nobody waits any more.
    async fn read_image(&self, unread: image::Unread) -> Option<Result<Option<Inspection>, Arc<Error>>> {
        let releases = self.clone();
        let reading = self.0.images.of(&unread.key);
        let read = reading.join(async move {
            let read = timeout(READING_TIMEOUT, releases.store().inspect(&unread.key)).await;
            let minutes = READING_TIMEOUT.as_secs() / 60;
            let slow = || causes::TOO_SLOW.naming("product", &unread.product).with("minutes", minutes);
            let read = read.map_err(|_| Error::StoreUnavailable(slow()))?.map_err(Error::from)?;
            if let Some(read) = &read {
                let noted = releases.0.db.note_inspection(&unread, read).await;
                noted.map_err(Error::from)?;
            }
            Ok(read)
        });
        read.await
    }
}
