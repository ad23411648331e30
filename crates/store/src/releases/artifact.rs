//! Which object a version is fetched from, and whether what is said of it can be so.

use std::time::Duration;

use cause::store as causes;
use contract::{ChannelName, ProductName, Sha256, Version};

use crate::error::StoreError;
use crate::releases::layout::Place;
use crate::releases::release::{Described, no_image};
use crate::store::Store;

/// At most this long a check update waits for a channel's image to be compared; the reading goes on.
const COMPARING_TIMEOUT: Duration = Duration::from_secs(1);

/// The object that a device fetches for a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The version it was asked for, as the store spells it.
    pub version: Version,
    /// Its key, to be signed.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// Digest of the whole object as its publisher said it; `None` if nobody did.
    pub sha256: Option<Sha256>,
    /// Chip name; `None` if the image does not say one we know.
    pub chip: Option<String>,
    /// The lowest version that may update to it directly.
    pub requires: Option<Version>,
    /// Which content of its object all this is about, as the storage names it.
    pub content: String,
}

impl Store {
    /// Which object a device is sent for a version, and what is known of it. The release's, which never changes, where
    /// there is one; else the channel's, if that is the version the channel points to. `None` if there is neither.
    ///
    /// Asks twice, each time for all at once: first what is committed, then what lies there.
    ///
    /// # Errors
    /// `Unavailable` also if both are there and differ, if `version.txt` names an image that is not there, or if the
    /// release was created for another image than its metadata says.
    #[crate::boxed]
    pub async fn artifact(
        &self,
        product: &ProductName,
        channel: &ChannelName,
        version: &Version,
    ) -> Result<Option<Artifact>, StoreError> {
        let place = Place::channel(product, channel);
        let (release, deployed) =
            tokio::join!(self.find_complete(product, version), self.version_file(&place));
        let (release, deployed) = (release?, deployed?);
        let described = async {
            let Some(release) = &release else { return Ok(None) };
            let described = self.describe(&release.place, &release.version).await?;
            let described = described.ok_or_else(|| no_image(&release.place))?;
            Described { mark: release.mark, ..described }.agreed(&release.version).map(Some)
        };
        let deployed = async {
            let Ok(Some(deployed)) = deployed else { return Ok(None) };
            let is_asked = deployed == *version;
            let described = if is_asked { self.describe(&place, &deployed).await? } else { None };
            Ok::<_, StoreError>(described.map(|described| (described, deployed)))
        };
        let (described, deployed) = tokio::join!(described, deployed);
        let release = release.map(|release| release.version);
        match (described?.zip(release), deployed?) {
            (Some((release, _)), Some((deployed, _))) if self.differ(&release, &deployed).await => {
                // Perhaps somebody promotes at this moment, and the channel's image is already the next one.
                match self.version_file(&place).await? {
                    Ok(Some(now)) if now == *version => {
                        let cause =
                            causes::CHANNEL_DIFFERS.naming("version", version).naming("channel", channel);
                        let cause = cause.with("release", release.firmware.key);
                        Err(StoreError::corrupt(cause.with("deployed", deployed.firmware.key)))
                    }
                    _ => release.artifact(version).map(Some),
                }
            }
            (Some((release, spelled)), _) => release.artifact(&spelled).map(Some),
            (None, Some((deployed, spelled))) => deployed.artifact(&spelled).map(Some),
            (None, None) => match self.version_file(&place).await? {
                Ok(Some(now)) if now == *version => Err(no_image(&place)),
                _ => Ok(None),
            },
        }
    }

    /// Whether a channel's image is not the release's: by size, by what is said of both, and where the release's digest is
    /// known by the channel's bytes, which are read once. A job that was killed may have left another image of the same size.
    async fn differ(&self, release: &Described, deployed: &Described) -> bool {
        let said = release.sha256().zip(deployed.sha256());
        let (left, right) = (&release.firmware, &deployed.firmware);
        if left.size != right.size || said.is_some_and(|(left, right)| left != right) {
            return true;
        }
        // Most servers tag an object by its content. Where one does not, equal objects have different tags.
        let is_same = left.tag == right.tag && !left.tag.0.is_empty();
        let Some(published) = release.sha256().filter(|_| !is_same) else { return false };
        let read = async |found| self.bucket.digest_within(found, COMPARING_TIMEOUT).await;
        // Where the release itself is not what was published, that is what has to be told, and not that they differ.
        read(right).await.is_some_and(|deployed| deployed != published) && read(left).await == Some(published)
    }
}

impl Described {
    fn artifact(self, version: &Version) -> Result<Artifact, StoreError> {
        let described = self.agreed(version)?;
        let (sha256, content) = (described.sha256(), described.firmware.content());
        Ok(Artifact {
            version: version.clone(),
            size: described.firmware.size,
            sha256,
            key: described.firmware.key,
            chip: described.chip,
            requires: described.metadata.requires().ok().flatten(),
            content,
        })
    }
}
