//! Promoting releases into channels.

use cause::service as causes;
use std::sync::Arc;

use contract::{ChannelName, ProductName, Version};
use store::Publication;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::detached::{WRITE_TIMEOUT, detached};
use super::service::{PROMOTIONS_MAX, Releases};
use crate::error::Error;
use api::Channel;

impl Releases {
    /// Points a channel to a release. An image is copied for it, at most [`PROMOTIONS_MAX`] at a time.
    pub async fn promote(
        &self,
        product: &ProductName,
        version: &Version,
        channel: &ChannelName,
    ) -> Result<Channel, Error> {
        let deadline = Instant::now() + WRITE_TIMEOUT;
        let permit = self.promotion_permit(deadline).await?;
        let (releases, channel) = (self.clone(), channel.clone());
        let (of, version) = (product.clone(), version.clone());
        let what = format!("promoting {version} of {product} to {channel}");
        detached(deadline, what, async move {
            let promoted = releases.0.store.promote(&of, &version, &channel).await;
            drop(permit);
            promoted?;
            releases.show_again(&of).await;
            Ok(Channel { name: channel, version: Some(version) })
        })
        .await
    }

    /// Promotes what was just published, and gives it back.
    pub(super) async fn promote_published(
        &self,
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
        detached(deadline, what, async move {
            let promoted = releases.0.store.promote_published(&publication, &published, &channel).await;
            drop(permit);
            releases.show_again(&publication.product).await;
            promoted.map_err(|error| after(error.into()))?;
            Ok(published)
        })
        .await
    }

    /// The right to copy an image into a channel.
    async fn promotion_permit(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, Error> {
        let permit = timeout_at(deadline, Arc::clone(&self.0.promotions).acquire_owned()).await;
        permit
            .ok()
            .and_then(Result::ok)
            .ok_or_else(|| Error::StoreUnavailable(causes::PROMOTIONS_BUSY.with("count", PROMOTIONS_MAX)))
    }
}
