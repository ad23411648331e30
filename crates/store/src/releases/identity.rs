//! What an image is, by its bytes: under which blocked version it is published.

use bytes::Bytes;
use cause::{Cause, store as causes};
use contract::{ChannelName, ProductName, Sha256, Version};
use futures_util::stream::{self, StreamExt};

use crate::error::StoreError;
use crate::objects::sums::sha256;
use crate::releases::blocked::Blocked;
use crate::releases::layout::Place;
use crate::releases::listing;
use crate::releases::release::Release;
use crate::store::Store;
use crate::tasks::off_the_async_threads;

/// At most this many blocked lists are read at a time.
const READS_AT_ONCE: usize = 16;

impl Store {
    /// What lies in a channel that points to this version, for where there is no release of it.
    #[crate::boxed]
    pub async fn channel_image(
        &self,
        product: &ProductName,
        channel: &ChannelName,
        version: &Version,
    ) -> Result<Option<Release>, StoreError> {
        let described = self.describe(&Place::channel(product, channel), version).await?;
        Ok(described.map(|described| described.release(version.clone())))
    }

    /// Why these bytes must not be published or promoted: they are those of a blocked version, of any product in the store. A list
    /// that cannot be read says nothing of bytes. Only images of the same size are looked at. Who may not look at other products than
    /// this one is told of this one.
    #[crate::boxed]
    pub async fn blocked_bytes(
        &self,
        product: &ProductName,
        image: &Bytes,
    ) -> Result<Option<Cause>, StoreError> {
        let products = match self.products().await {
            Err(error) if error.is_denied() => vec![product.clone()],
            products => products?,
        };
        let mut lists = stream::iter(products)
            .map(async |name| (self.blocked(&name).await, name))
            .buffered(READS_AT_ONCE);
        let mut digest = None;
        while let Some((list, name)) = lists.next().await {
            let found = match list {
                Ok(list) => self.blocked_bytes_of(&name, list, image, &mut digest).await,
                Err(error) => Err(error),
            };
            match found {
                Err(error) if error.is_denied() && name != *product => {}
                found => {
                    if let Some(cause) = found? {
                        return Ok(Some(cause));
                    }
                }
            }
        }
        Ok(None)
    }

    async fn blocked_bytes_of(
        &self,
        product: &ProductName,
        list: Blocked,
        image: &Bytes,
        digest: &mut Option<Sha256>,
    ) -> Result<Option<Cause>, StoreError> {
        let Blocked::List(list) = list else { return Ok(None) };
        if list.is_empty() {
            return Ok(None);
        }
        let sizes = listing::sizes(&self.bucket, product).await?;
        for (version, _) in sizes.into_iter().filter(|(_, size)| *size == image.len() as u64) {
            let Some(why) = list.get(&version) else { continue };
            let key = Place::named(product, &version).firmware();
            let Some(firmware) = self.bucket.find(&key).await? else { continue };
            let own = match *digest {
                Some(own) => own,
                None => {
                    let image = image.clone();
                    *digest.insert(off_the_async_threads(move || sha256(&image)).await?)
                }
            };
            if self.bucket.digest(&firmware).await? == own {
                let cause = causes::BLOCKED_BYTES.naming("version", &version).naming("product", product);
                return Ok(Some(cause.with("why", why.clone())));
            }
        }
        Ok(None)
    }
}
