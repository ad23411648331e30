//! Undoing a promote that was killed half-way: the channel has another image than the release that its `version.txt` names. That release
//! never changes, so whoever looks copies it once more, by the rules of every promote.

use std::time::Duration;

use cause::store as causes;
use chrono::Utc;
use contract::{ChannelName, ProductName, Version};

use crate::error::StoreError;
use crate::releases::layout::Place;
use crate::store::Store;

impl Store {
    /// Copies what a channel points to once more, where another image is in its place and nobody has written there for
    /// `quiet`: until then somebody may be promoting. Answers whether that was so. What cannot be repaired stays as it is.
    #[crate::boxed]
    pub async fn repair_channel(
        &self,
        product: &ProductName,
        channel: &ChannelName,
        version: &Version,
        quiet: Duration,
    ) -> Result<bool, StoreError> {
        match self.artifact(product, channel, version).await {
            Err(error) if error.cause().is(causes::CHANNEL_DIFFERS) => {}
            Err(error) if !error.is_corrupt() => return Err(error),
            _ => return Ok(false),
        }
        let place = Place::channel(product, channel);
        for key in [place.firmware(), place.metadata()] {
            let written = self.bucket.find(&key).await?.and_then(|found| found.modified);
            if written.is_some_and(|at| (Utc::now() - at).to_std().is_ok_and(|age| age < quiet)) {
                return Ok(false);
            }
        }
        match self.promote_again(product, version, channel).await {
            Ok(()) => Ok(true),
            // A blocked version is offered to nobody.
            Err(StoreError::Refused(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
