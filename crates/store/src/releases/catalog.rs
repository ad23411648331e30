//! Reading: which products, channels and releases there are.

use contract::{ChannelName, ProductName, Version};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::error::StoreError;
use crate::objects::bucket::Backing;
use crate::objects::listing::folders;
use crate::objects::object::Read;
use crate::releases::layout::{JSON_MAX_BYTES, Place, VERSION_MAX_BYTES};
use crate::releases::listing::{self, Files};
use crate::releases::release::{Described, Release, agreed_version, marked};
use crate::store::Store;

/// At most this many small objects are read at a time.
const READS_AT_ONCE: usize = 16;

impl Store {
    /// The products that lie in the store, in order; folders that cannot be products are passed over.
    #[crate::boxed]
    pub async fn products(&self) -> Result<Vec<ProductName>, StoreError> {
        let folders = folders(&self.bucket, "").await?;
        let mut products: Vec<ProductName> = folders.iter().filter_map(|name| name.parse().ok()).collect();
        products.sort();
        Ok(products)
    }

    /// Whether anything of the product lies in the store.
    #[crate::boxed]
    pub async fn product_exists(&self, product: &ProductName) -> Result<bool, StoreError> {
        Ok(!folders(&self.bucket, product).await?.is_empty())
    }

    /// Where a release's image lies, for people: `s3://bucket/key` or `file:/folder/key`. No secret, and no link.
    pub fn address(&self, release: &Release) -> String {
        let key = &release.key;
        match &self.bucket.backing {
            Backing::Folder(folder) => format!("file:{}", folder.join(key).display()),
            Backing::S3 { location, .. } => format!("s3://{}/{key}", location.bucket),
        }
    }

    /// The channels and what they point to; `None` where `version.txt` cannot be read.
    #[crate::boxed]
    pub async fn channels(
        &self,
        product: &ProductName,
    ) -> Result<Vec<(ChannelName, Option<Version>)>, StoreError> {
        let folders = folders(&self.bucket, product).await?;
        let mut channels = Vec::new();
        for name in folders.iter().filter_map(|name| name.parse::<ChannelName>().ok()) {
            match self.version_file(&Place::channel(product, &name)).await? {
                Ok(None) => {}
                version => channels.push((name, version.unwrap_or_default())),
            }
        }
        channels.sort_by(|(left, _), (right, _)| left.cmp(right));
        Ok(channels)
    }

    /// What a channel points to, read afresh; `None` if it does not exist yet.
    #[crate::boxed]
    pub async fn channel(
        &self,
        product: &ProductName,
        channel: &ChannelName,
    ) -> Result<Option<Version>, StoreError> {
        self.version_file(&Place::channel(product, channel)).await?.map_err(StoreError::corrupt)
    }

    /// The complete releases, highest version first. A corrupt one is passed over.
    #[crate::boxed]
    pub async fn releases(&self, product: &ProductName) -> Result<Vec<Release>, StoreError> {
        self.releases_where(product, |_| true).await
    }

    /// The same between two versions, of those that nothing stands against, by a listing and their small files, which are
    /// asked for only if they are not known.
    #[crate::boxed]
    pub async fn releases_between(
        &self,
        product: &ProductName,
        above: &Version,
        below: &Version,
    ) -> Result<Vec<Release>, StoreError> {
        let mut releases = self.releases_where(product, |version| version > above && version < below).await?;
        releases.retain(|release| {
            release.fault.iter().for_each(|fault| tracing::warn!("a release is passed over: {fault}"));
            release.fault.is_none()
        });
        Ok(releases)
    }

    async fn releases_where(
        &self,
        product: &ProductName,
        is_wanted: impl Fn(&Version) -> bool,
    ) -> Result<Vec<Release>, StoreError> {
        let listed = listing::releases(&self.bucket, product).await?;
        let wanted = listed.into_values().filter(|(version, _)| is_wanted(version));
        let releases = stream::iter(wanted)
            .map(|(version, files)| self.sound_release(version, files))
            .buffer_unordered(READS_AT_ONCE)
            .try_filter_map(|release| async { Ok(release) });
        let mut releases: Vec<Release> = releases.try_collect().await?;
        releases.sort_by(|left, right| {
            right.version.cmp(&left.version).then_with(|| right.version.as_str().cmp(left.version.as_str()))
        });
        Ok(releases)
    }

    /// A release of a listing; a corrupt one hides no other.
    async fn sound_release(&self, version: Version, files: Files) -> Result<Option<Release>, StoreError> {
        match self.listed_release(version.clone(), files).await {
            Err(error) if error.is_corrupt() => {
                tracing::warn!(release = %version, "a release is passed over: {error}");
                Ok(None)
            }
            release => release,
        }
    }

    async fn listed_release(&self, version: Version, files: Files) -> Result<Option<Release>, StoreError> {
        let (Some(firmware), Some(version_txt)) = (files.firmware, files.version) else { return Ok(None) };
        let read = self.bucket.read_listed_mark(&version_txt, &firmware, VERSION_MAX_BYTES).await?;
        let mark = marked(&read);
        let Some(version) = agreed_version(&version_txt.key, read, &version)? else { return Ok(None) };
        let metadata = match files.metadata {
            Some(found) => self.bucket.read_listed(&found, JSON_MAX_BYTES).await?,
            None => Read::Missing,
        };
        let described = self.described(firmware, metadata, &version).await?;
        Ok(Some(Described { mark, ..described }.release(version)))
    }
}
