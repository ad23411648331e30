//! Products, releases, channels and blocked versions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use contract::{ChannelName, ProductName, Version};
use store::{Attempt, Blocked, Check, Publication, Verdict};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};

use super::check::STORE_PATIENCE;
use super::{App, AppError};
use crate::catalog::{Refreshed, Shelf, too_slow};
use crate::db::device;
use crate::model::{
    BlockedList, BlockedVersion, Channel, Finding, Judgement, Product, Published, Release, SizeOf,
};

/// The longest reason for blocking a version, in bytes.
const REASON_MAX_BYTES: usize = 500;

/// How long somebody who asked waits until the store is written.
pub(crate) const WRITE_PATIENCE: Duration = Duration::from_secs(45);
/// Releases copied into channels at a time: each is held in memory meanwhile.
pub(super) const PROMOTIONS_MAX: usize = 2;

/// What is said of an image that is published.
#[derive(Debug, Clone, Default)]
pub struct Upload {
    /// As which version; `None` takes the image's own, if it has one.
    pub version: Option<Version>,
    /// What is new.
    pub notes: Option<String>,
    /// Git commit.
    pub commit: Option<String>,
    /// Git tag at that commit.
    pub tag: Option<String>,
    /// Whether what was built differed from that commit.
    pub dirty: Option<bool>,
    /// The lowest version that may update to this one directly.
    pub requires: Option<Version>,
    /// Checks of the gate that are overruled.
    pub allow: Vec<Check>,
    /// What the person calls the image's file.
    pub file: Option<String>,
    /// The channel that is to point to it.
    pub promote: Option<ChannelName>,
}

impl App {
    /// Every product that the store holds or a device belongs to.
    pub async fn products(&self) -> Result<Vec<Product>, AppError> {
        let mut products: BTreeMap<ProductName, Product> = self
            .catalog()
            .products()
            .into_iter()
            .map(|(name, shelf)| {
                let production = shelf.production().cloned();
                (name.clone(), Product { name, devices: 0, production })
            })
            .collect();
        for (name, devices) in device::products(self.db()).await? {
            products.entry(name.clone()).or_insert(Product { name, devices: 0, production: None }).devices =
                devices;
        }
        Ok(products.into_values().collect())
    }

    /// Highest version first. Unknown product: NotFound.
    pub async fn releases(&self, product: &ProductName) -> Result<Vec<Release>, AppError> {
        let shelf = self.shelf(product).await?;
        Ok(shelf
            .iter()
            .flat_map(|shelf| shelf.releases.iter().map(|release| shown(shelf, release)))
            .collect())
    }

    /// One release.
    pub async fn release(&self, product: &ProductName, version: &Version) -> Result<Release, AppError> {
        let shelf = self.shelf(product).await?;
        let release = shelf.as_ref().and_then(|shelf| Some(shown(shelf, shelf.release(version)?)));
        release.ok_or_else(|| AppError::NotFound(format!("{product} has no release {version}.")))
    }

    /// Publishes an image and, if asked, promotes it.
    pub async fn publish(
        &self,
        product: &ProductName,
        upload: &Upload,
        image: Bytes,
    ) -> Result<Published, AppError> {
        let publication = self.publication(product, upload).await?;
        let mut published = match self.store().attempt(&publication, image, &|_| {}).await? {
            Attempt::Published(published) => *published,
            Attempt::Refused(verdict) => {
                let no_reason = || AppError::Refused("the gate refuses it".to_owned());
                let error = Box::new(verdict.error().map_or_else(no_reason, AppError::from));
                return Err(AppError::Gate { error, judgement: Box::new(judgement(product, *verdict)) });
            }
        };
        if let Some(channel) = &upload.promote {
            published = self.promote_published(publication, published, channel.clone()).await?;
        } else {
            self.show_anew(product).await;
        }
        let Judgement { findings, slot_bytes, trend, .. } = judgement(product, published.verdict);
        let base = self.public_url().as_str().trim_end_matches('/');
        Ok(Published {
            release: self.release_as_shown(product, &published.release, upload.promote.as_ref()),
            decision: if published.already_there { "unchanged" } else { "published" },
            url: format!("{base}/releases/{product}#release-{}", published.release.version),
            product: product.clone(),
            promoted: upload.promote.clone(),
            findings,
            slot_bytes,
            trend,
        })
    }

    /// What the gate says of an image, which is not published.
    pub async fn judge(
        &self,
        product: &ProductName,
        upload: &Upload,
        image: Bytes,
    ) -> Result<Judgement, AppError> {
        let publication = self.publication(product, upload).await?;
        Ok(judgement(product, self.store().judge(&publication, &image).await?))
    }

    async fn publication(&self, product: &ProductName, upload: &Upload) -> Result<Publication, AppError> {
        Ok(Publication {
            version: upload.version.clone(),
            notes: upload.notes.clone(),
            commit: upload.commit.clone(),
            tag: upload.tag.clone(),
            dirty: upload.dirty,
            requires: upload.requires.clone(),
            allow: upload.allow.clone(),
            file: upload.file.clone(),
            slot: self.smallest_slot(product).await?,
            ..Publication::new(product.clone())
        })
    }

    /// The channels of a product.
    pub async fn channels(&self, product: &ProductName) -> Result<Vec<Channel>, AppError> {
        let shelf = self.shelf(product).await?;
        let channels = shelf.iter().flat_map(|shelf| shelf.channels.iter().cloned());
        Ok(channels.map(|(name, version)| Channel { name, version }).collect())
    }

    /// Points a channel to a release. An image is copied for it, and so many at a time.
    pub async fn promote(
        &self,
        product: &ProductName,
        version: &Version,
        channel: &ChannelName,
    ) -> Result<Channel, AppError> {
        let deadline = Instant::now() + WRITE_PATIENCE;
        let turn = self.promotion(deadline).await?;
        let (app, channel) = (self.clone(), channel.clone());
        let (of, version) = (product.clone(), version.clone());
        let what = format!("promoting {version} of {product} to {channel}");
        self.see_through(deadline, what, async move {
            let promoted = app.store().promote(&of, &version, &channel).await;
            drop(turn);
            promoted?;
            app.show_anew(&of).await;
            Ok(Channel { name: channel, version: Some(version) })
        })
        .await
    }

    /// The versions of a product that are never offered.
    pub async fn blocked(&self, product: &ProductName) -> Result<BlockedList, AppError> {
        let shelf = self.shelf(product).await?;
        let (items, unreadable) = match shelf.map(|shelf| shelf.blocked.clone()) {
            None => (Vec::new(), None),
            Some(Blocked::Unreadable(cause)) => (Vec::new(), Some(cause.sentence())),
            Some(Blocked::List(versions)) => {
                let items =
                    versions.into_iter().rev().map(|(version, reason)| BlockedVersion { version, reason });
                (items.collect(), None)
            }
        };
        Ok(BlockedList { items, unreadable, next: None })
    }

    /// Never offers a version again.
    pub async fn block(
        &self,
        product: &ProductName,
        version: &Version,
        reason: &str,
    ) -> Result<(), AppError> {
        let reason = reason.trim();
        if reason.is_empty() || reason.len() > REASON_MAX_BYTES {
            return Err(AppError::Invalid(format!(
                "Say why {version} is blocked, in 1 to {REASON_MAX_BYTES} bytes."
            )));
        }
        self.require_product(product).await?;
        let (app, reason) = (self.clone(), reason.to_owned());
        let (of, version) = (product.clone(), version.clone());
        let what = format!("blocking {version} of {product}");
        self.see_through(Instant::now() + WRITE_PATIENCE, what, async move {
            app.store().block(&of, &version, &reason).await?;
            app.show_anew(&of).await;
            Ok(())
        })
        .await
    }

    /// Offers it again.
    pub async fn unblock(&self, product: &ProductName, version: &Version) -> Result<(), AppError> {
        let (app, of, version) = (self.clone(), product.clone(), version.clone());
        let what = format!("unblocking {version} of {product}");
        self.see_through(Instant::now() + WRITE_PATIENCE, what, async move {
            app.store().unblock(&of, &version).await?;
            app.show_anew(&of).await;
            Ok(())
        })
        .await
    }

    /// Promotes what was just published, and gives it back.
    async fn promote_published(
        &self,
        publication: Publication,
        published: store::Published,
        channel: ChannelName,
    ) -> Result<store::Published, AppError> {
        let deadline = Instant::now() + WRITE_PATIENCE;
        let done = format!("{} is published, and was not promoted to {channel}", published.release.version);
        let turn = self.promotion(deadline).await.map_err(|error| error.after(&done))?;
        let app = self.clone();
        let what = format!("promoting to {channel} what was published");
        self.see_through(deadline, what, async move {
            let promoted = app.store().promote_published(&publication, &published, &channel).await;
            drop(turn);
            app.show_anew(&publication.product).await;
            promoted.map_err(|error| AppError::from(error).after(&done))?;
            Ok(published)
        })
        .await
    }

    /// The right to copy an image into a channel.
    async fn promotion(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, AppError> {
        let turn = timeout_at(deadline, Arc::clone(&self.inner.promotions).acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or_else(|| {
            AppError::StoreUnavailable(format!(
                "{PROMOTIONS_MAX} releases are being promoted already, and the store takes its time; try again in a minute."
            ))
        })
    }

    /// Does what is written into the store in a task of its own, to its end, whoever leaves meanwhile or cannot wait. What
    /// is merely slow is not said to have failed.
    pub(super) async fn see_through<T: Send + 'static>(
        &self,
        deadline: Instant,
        what: String,
        task: impl Future<Output = Result<T, AppError>> + Send + 'static,
    ) -> Result<T, AppError> {
        let slow = AppError::GoesOn(format!(
            "The store takes its time over {what}. It goes on: look again in a minute, and ask again if it is not done then."
        ));
        let done = tokio::spawn(async move {
            let done = task.await;
            if Instant::now() >= deadline {
                // Nobody waits for it any more.
                match &done {
                    Ok(_) => tracing::info!("{what} took its time, and is done"),
                    Err(error) => tracing::warn!("{what} took its time, and failed: {error}"),
                }
            }
            done
        });
        match timeout_at(deadline, done).await {
            Ok(ended) => ended.context("writing to the store broke off")?,
            Err(_) => Err(slow),
        }
    }

    /// Forget what is cached for showing, so that a change made by another program is seen at once.
    pub async fn refresh(&self, product: &ProductName) -> Result<(), AppError> {
        match self.catalog().refresh(product).await {
            Ok(Refreshed::Done) if self.catalog().product(product).is_some() => Ok(()),
            // A misspelt name in whatever calls this would otherwise look fine for ever.
            Ok(Refreshed::Done) if device::count(self.db(), Some(product)).await? == 0 => {
                Err(AppError::NotFound(format!("There is no product {product} in the store.")))
            }
            Ok(Refreshed::Done) => Ok(()),
            Ok(Refreshed::GoesOn) => Err(AppError::GoesOn(too_slow())),
            Err(error) => Err(AppError::StoreUnavailable(error.to_string())),
        }
    }

    /// Shows what was just done. It is done, whatever the bucket answers now.
    async fn show_anew(&self, product: &ProductName) {
        match self.catalog().refresh(product).await {
            Ok(Refreshed::Done) => {}
            Ok(Refreshed::GoesOn) => {
                self.catalog().expect(product);
                tracing::info!(product = %product, "the store takes its time to tell what it holds now");
            }
            Err(error) => {
                self.catalog().expect(product);
                tracing::warn!(product = %product, "what the store holds now could not be read: {error}");
            }
        }
    }

    /// A release that was just published, as the catalog shows it; if that is not there yet, as far as it is known.
    fn release_as_shown(
        &self,
        product: &ProductName,
        release: &store::Release,
        promoted: Option<&ChannelName>,
    ) -> Release {
        let shelf = self.catalog().product(product);
        if let Some(shelf) = shelf
            && let Some(known) = shelf.release(&release.version)
            && known.version.as_str() == release.version.as_str()
            && known.sha256 == release.sha256
        {
            return shown(&shelf, known);
        }
        let channels = promoted.map(|channel| (channel.clone(), Some(release.version.clone())));
        let blocked = Blocked::List(BTreeMap::new());
        shown(&Shelf { releases: Vec::new(), channels: channels.into_iter().collect(), blocked }, release)
    }

    /// Refuses names that neither the store nor a device has. Asks the store where nobody here knows it: for those who may
    /// change what it holds, and may have it looked at.
    async fn require_product(&self, product: &ProductName) -> Result<(), AppError> {
        let is_known = self.catalog().product(product).is_some()
            || self.catalog().is_expected(product)
            || device::count(self.db(), Some(product)).await? > 0
            || timeout(STORE_PATIENCE, self.store().product_exists(product)).await.map_err(|_| {
                AppError::StoreUnavailable(format!(
                    "The store did not tell within {} seconds whether there is a product {product}; try again.",
                    STORE_PATIENCE.as_secs()
                ))
            })??;
        if is_known { Ok(()) } else { Err(unknown(product)) }
    }

    /// What is known of a product; `None` if only devices speak of it so far. A name that is not known is looked for in the
    /// store once in a while, whoever asks.
    async fn shelf(&self, product: &ProductName) -> Result<Option<Arc<Shelf>>, AppError> {
        if let Some(shelf) = self.catalog().product(product) {
            return Ok(Some(shelf));
        }
        // Published a moment ago by somebody else, maybe.
        let every = Duration::from_secs(self.config().store.refresh_s.into());
        let sought = self.catalog().seek(product, every).await;
        if let Some(shelf) = self.catalog().product(product) {
            return Ok(Some(shelf));
        }
        sought.map_err(AppError::StoreUnavailable)?;
        if device::count(self.db(), Some(product)).await? == 0 {
            return Err(unknown(product));
        }
        Ok(None)
    }
}

fn unknown(product: &ProductName) -> AppError {
    AppError::NotFound(format!("There is no product {product}."))
}

/// As the API says it.
fn judgement(product: &ProductName, verdict: Verdict) -> Judgement {
    let decision = if verdict.is_refused() { "refused" } else { "pass" };
    let finding = |finding: store::Finding| Finding {
        check: finding.check.name(),
        level: finding.check.level().name(),
        allowed: finding.allowed,
        overrulable: finding.check.is_overrulable(),
        sentence: finding.cause.sentence(),
    };
    let size = |store::SizeOf { version, size }| SizeOf { version, size };
    Judgement {
        decision,
        refusal: verdict.refusal().map(|cause| cause.sentence()),
        product: product.clone(),
        version: verdict.version,
        size: verdict.size,
        sha256: verdict.sha256,
        chip: verdict.chip,
        findings: verdict.findings.into_iter().map(finding).collect(),
        slot_bytes: verdict.slot_bytes,
        trend: verdict.trend.into_iter().map(size).collect(),
    }
}

fn shown(shelf: &Shelf, release: &store::Release) -> Release {
    let reason = match &shelf.blocked {
        Blocked::List(versions) => versions.get(&release.version).cloned(),
        Blocked::Unreadable(cause) => Some(Some(cause.sentence())),
    };
    let channels = shelf
        .channels
        .iter()
        .filter(|(_, version)| version.as_ref() == Some(&release.version))
        .map(|(name, _)| name.clone());
    Release {
        version: release.version.clone(),
        size: release.size,
        sha256: release.sha256,
        chip: release.chip.clone(),
        blocked: reason.is_some(),
        reason: reason.flatten(),
        channels: channels.collect(),
        notes: release.notes.clone(),
        built_at: release.built_at,
        published_at: release.published_at,
        commit: release.commit.clone(),
        tag: release.tag.clone(),
        dirty: release.dirty,
    }
}
