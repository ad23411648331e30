//! Reading a product again, because somebody asks or because it was just written.

use cause::service as causes;
use contract::ProductName;

use super::mirror::{Refreshed, too_slow};
use super::service::Releases;
use crate::db::device_count;
use crate::error::Error;

impl Releases {
    /// Forget what is cached for showing, so that a change made by another program is seen at once.
    pub async fn refresh(&self, product: &ProductName) -> Result<(), Error> {
        match self.0.mirror.refresh(product).await {
            Ok(Refreshed::Done) if self.0.mirror.product(product).is_some() => Ok(()),
            // A misspelt name in whatever calls this would otherwise look fine for ever.
            Ok(Refreshed::Done) if device_count::count(&self.0.db, Some(product)).await? == 0 => {
                Err(Error::NotFound(causes::NO_PRODUCT_IN_STORE.naming("product", product)))
            }
            Ok(Refreshed::Done) => Ok(()),
            Ok(Refreshed::GoesOn) => Err(Error::GoesOn(too_slow())),
            Err(error) => Err(Error::StoreUnavailable(error.cause().clone())),
        }
    }

    /// Shows what was just done. It is done, whatever the bucket answers now.
    pub(super) async fn show_again(&self, product: &ProductName) {
        match self.0.mirror.refresh(product).await {
            Ok(Refreshed::Done) => {}
            Ok(Refreshed::GoesOn) => {
                self.0.mirror.expect(product);
                tracing::info!(product = %product, "the store takes its time to tell what it holds now");
            }
            Err(error) => {
                self.0.mirror.expect(product);
                tracing::warn!(product = %product, "what the store holds now could not be read: {error}");
            }
        }
    }
}
