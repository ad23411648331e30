//! Blocking versions, and unblocking them.

use cause::service as causes;
use contract::{ProductName, Version};
use tokio::time::Instant;

use super::detached::{WRITE_TIMEOUT, detached};
use super::service::Releases;
use crate::error::Error;

/// The longest reason for blocking a version, in bytes.
const REASON_MAX_BYTES: usize = 500;

impl Releases {
    /// Never offers a version again.
    pub async fn block(&self, product: &ProductName, version: &Version, reason: &str) -> Result<(), Error> {
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
        detached(Instant::now() + WRITE_TIMEOUT, what, async move {
            releases.0.store.block(&of, &version, &reason).await?;
            releases.show_again(&of).await;
            Ok(())
        })
        .await
    }

    /// Offers it again.
    pub async fn unblock(&self, product: &ProductName, version: &Version) -> Result<(), Error> {
        let (releases, of, version) = (self.clone(), product.clone(), version.clone());
        let what = format!("unblocking {version} of {product}");
        detached(Instant::now() + WRITE_TIMEOUT, what, async move {
            releases.0.store.unblock(&of, &version).await?;
            releases.show_again(&of).await;
            Ok(())
        })
        .await
    }
}
