//! Reading images for the digests by which devices name them, each once, in the background. Until then what was said of them counts.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::service::Releases;
use crate::db::image;

/// After a failure.
const AGAIN_AFTER: Duration = Duration::from_mins(1);

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
                    tracing::warn!("images were not read for their digests, and will be: {error:#}");
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
        let (db, mut failed) = (&self.0.db, None);
        let unread = image::unread(db).await?;
        for key in &unread {
            match self.store().digests(key).await {
                Ok(digests) => db.note_digests(key, digests.as_ref()).await?,
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}
