//! Writing into the store in tasks of their own: releases are promoted into channels, and versions blocked. Afterwards, or
//! because somebody asks, the product is read again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use api::Channel;
use cause::service as causes;
use contract::{ChannelName, ProductName, Version};
use serde_json::{Value, json};
use store::{BlockReason, Publication};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::audited::Act;
use super::mirror::{Refreshed, too_slow, unavailable};
use super::service::{PROMOTIONS_MAX, Releases};
use crate::actor::Actor;
use crate::db::mirror::{self, Wanted};
use crate::db::{Action, device_list};
use crate::error::Error;

/// How long somebody who asked waits until the store is written.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(45);

/// Runs what is written into the store to completion, whoever leaves meanwhile.
pub(super) async fn completed<T: Send + 'static>(
    task: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    tokio::spawn(task).await.context("writing to the store broke off")?
}

/// The same for who cannot wait either. What is merely slow is not said to have failed.
pub(crate) async fn detached<T: Send + 'static>(
    deadline: Instant,
    what: String,
    task: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let slow = Error::GoesOn(causes::GOES_ON.with("what", what.as_str()));
    let done = completed(async move {
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
    timeout_at(deadline, done).await.unwrap_or(Err(slow))
}

impl Releases {
    /// Points a channel to a release. An image is copied for it, at most [`PROMOTIONS_MAX`] at a time.
    #[crate::boxed]
    pub async fn promote(
        &self,
        by: &Actor,
        product: &ProductName,
        version: &Version,
        channel: &ChannelName,
    ) -> Result<Channel, Error> {
        let deadline = Instant::now() + WRITE_TIMEOUT;
        let permit = self.promotion_permit(deadline).await?;
        let (releases, channel) = (self.clone(), channel.clone());
        let (of, version) = (product.clone(), version.clone());
        let what = format!("promoting {version} of {product} to {channel}");
        let (by, act) = (by.clone(), promotion(product, &version, &channel));
        detached(deadline, what, async move {
            let promote = Box::pin(async { Ok(releases.0.store.promote(&of, &version, &channel).await?) });
            let promoted = releases.audited(&by, act, promote, |before| promoted(before.as_ref())).await;
            drop(permit);
            releases.show_again(&of).await;
            promoted?;
            Ok(Channel { name: channel, version: Some(version) })
        })
        .await
    }

    pub(super) async fn promote_published(
        &self,
        by: &Actor,
        publication: Publication,
        published: store::Published,
        channel: ChannelName,
    ) -> Result<store::Published, Error> {
        let deadline = Instant::now() + WRITE_TIMEOUT;
        let after = {
            let (version, channel) = (published.release.version.clone(), channel.clone());
            move |error: Error| error.after_publishing(&version, &channel)
        };
        let permit = self.promotion_permit(deadline).await.map_err(&after)?;
        let releases = self.clone();
        let what = format!("promoting to {channel} what was published");
        let (by, act) = (by.clone(), promotion(&publication.product, &published.release.version, &channel));
        detached(deadline, what, async move {
            let promote = Box::pin(releases.0.store.promote_published(&publication, &published, &channel));
            let promote = async { Ok(promote.await?) };
            let promoted = releases.audited(&by, act, promote, |before| promoted(before.as_ref())).await;
            drop(permit);
            releases.show_again(&publication.product).await;
            promoted.map_err(after)?;
            Ok(published)
        })
        .await
    }

    async fn promotion_permit(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, Error> {
        let permit = timeout_at(deadline, Arc::clone(&self.0.promotions).acquire_owned()).await;
        permit
            .ok()
            .and_then(Result::ok)
            .ok_or_else(|| Error::StoreUnavailable(causes::PROMOTIONS_BUSY.with("count", PROMOTIONS_MAX)))
    }
}

fn promotion(product: &ProductName, version: &Version, channel: &ChannelName) -> Act {
    let detail = json!({ "channel": channel, "version": version });
    Act { action: Action::CHANNEL_PROMOTE, product: product.clone(), detail }
}

fn promoted(before: Option<&Version>) -> (Value, Value) {
    (json!({ "version": before }), done())
}

fn done() -> Value {
    json!({ "outcome": "done" })
}

/// A version's entry in the blocked list.
fn entry(before: Option<&BlockReason>) -> Value {
    json!({ "blocked": before.is_some(), "reason": before })
}

/// The longest reason for blocking a version, in bytes.
const REASON_MAX_BYTES: usize = 500;

impl Releases {
    /// Never offers a version again.
    #[crate::boxed]
    pub async fn block(
        &self,
        by: &Actor,
        product: &ProductName,
        version: &Version,
        reason: &str,
    ) -> Result<(), Error> {
        let reason = reason.trim();
        if reason.is_empty() || reason.len() > REASON_MAX_BYTES {
            return Err(Error::Invalid(
                causes::BLOCK_REASON.naming("version", version).with("most", REASON_MAX_BYTES),
            ));
        }
        self.require_product(product).await?;
        let (releases, reason) = (self.clone(), reason.to_owned());
        let (of, version) = (product.clone(), version.clone());
        let what = format!("blocking {version} of {product}");
        let detail = json!({ "version": version, "reason": reason });
        let (by, act) = (by.clone(), Act { action: Action::VERSION_BLOCK, product: product.clone(), detail });
        detached(Instant::now() + WRITE_TIMEOUT, what, async move {
            let block = Box::pin(async { Ok(releases.0.store.block(&of, &version, &reason).await?) });
            let done = releases.audited(&by, act, block, |before| (entry(before.as_ref()), done())).await;
            releases.show_again(&of).await;
            done.map(|_| ())
        })
        .await
    }

    /// Lets the gate take no image of the product any more unless its secure version is higher than this one's.
    #[crate::boxed]
    pub async fn raise_secure_version(
        &self,
        by: &Actor,
        product: &ProductName,
        above: &Version,
    ) -> Result<(), Error> {
        let (releases, of, above) = (self.clone(), product.clone(), above.clone());
        let what = format!("raising the secure version of {product} above that of {above}");
        let detail = json!({ "version": above, "security": true });
        let (by, act) = (by.clone(), Act { action: Action::VERSION_BLOCK, product: product.clone(), detail });
        detached(Instant::now() + WRITE_TIMEOUT, what, async move {
            let raise = Box::pin(async { Ok(releases.0.store.raise_secure_version(&of, &above).await?) });
            let entry = |floor: &u32| (json!({ "secure_version": floor }), done());
            releases.audited(&by, act, raise, entry).await.map(|_| ())
        })
        .await
    }

    /// Offers it again.
    #[crate::boxed]
    pub async fn unblock(&self, by: &Actor, product: &ProductName, version: &Version) -> Result<(), Error> {
        let (releases, of, version) = (self.clone(), product.clone(), version.clone());
        let what = format!("unblocking {version} of {product}");
        let detail = json!({ "version": version });
        let (by, act) =
            (by.clone(), Act { action: Action::VERSION_UNBLOCK, product: product.clone(), detail });
        detached(Instant::now() + WRITE_TIMEOUT, what, async move {
            let unblock = Box::pin(async { Ok(releases.0.store.unblock(&of, &version).await?) });
            let done = releases.audited(&by, act, unblock, |before| (entry(before.as_ref()), done())).await;
            releases.show_again(&of).await;
            done.map(|_| ())
        })
        .await
    }
}

impl Releases {
    /// Forget what is cached for showing, so that a change made by another program is seen at once.
    #[crate::boxed]
    pub async fn refresh(&self, product: &ProductName) -> Result<(), Error> {
        match self.0.mirror.refresh(product).await {
            Ok(Refreshed::Done) => {}
            Ok(Refreshed::GoesOn) => return Err(Error::GoesOn(too_slow())),
            Err(error) => return Err(unavailable(&error)),
        }
        let is_known = mirror::of_product(&self.0.db, product, Wanted::None).await?.is_there()
            || device_list::is_of_any(&self.0.db, product).await?;
        // A misspelt name in whatever calls this would otherwise look fine for ever.
        let unknown = || Error::NotFound(causes::NO_PRODUCT_IN_STORE.naming("product", product));
        if is_known { Ok(()) } else { Err(unknown()) }
    }

    /// Shows what was just done, or was maybe, where no answer came. It is done, whatever the bucket answers now.
    pub(super) async fn show_again(&self, product: &ProductName) {
        let why = match self.0.mirror.refresh(product).await {
            Ok(Refreshed::Done) => return,
            Ok(Refreshed::GoesOn) => {
                tracing::info!(product = %product, "the store takes its time to tell what it holds now");
                too_slow()
            }
            Err(error) => {
                tracing::warn!(product = %product, "what the store holds now could not be read: {error}");
                error.cause().cloned().unwrap_or_else(too_slow)
            }
        };
        // It is looked for whenever it is asked for.
        if let Err(error) = self.0.db.note_expected(product, &why).await {
            tracing::error!(%error, product = %product, "that this product is in the store was not noted");
        }
    }
}
