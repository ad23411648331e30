//! Doing something again while other writers come in between.

use cause::store as causes;

use crate::error::StoreError;
use crate::objects::bucket::Bucket;
use crate::objects::write_lock::WriteLock;
use crate::tasks::pause;

impl Bucket {
    /// Tries under the lock of `what` until it is done; an attempt answers `None` where another writer came in between. `None`
    /// after `rounds_max` of them.
    pub(crate) async fn in_rounds<T, F: Future<Output = Result<Option<T>, StoreError>>>(
        &self,
        what: &str,
        rounds_max: u32,
        attempt: impl Fn(WriteLock) -> F,
    ) -> Result<Option<T>, StoreError> {
        for _ in 0..rounds_max {
            let lock = self.write_lock(what).await?;
            let is_alone = lock.is_alone();
            match attempt(lock).await {
                Ok(None) => {}
                // Found out just now: the next lock is one of this process alone, or refused.
                Err(error) if !is_alone && error.cause().is(causes::CONDITION_REFUSED) => {}
                done => return done,
            }
            pause().await;
        }
        Ok(None)
    }
}
