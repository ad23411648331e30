//! Acts on the bucket, each between two entries of the audit: that it has begun, and how it ended. A process that is killed in
//! between leaves the first alone, and the bucket says what became of it.

use contract::ProductName;
use sea_orm::DbErr;
use serde_json::{Value, json};

use super::service::Releases;
use crate::actor::Actor;
use crate::db::Action;
use crate::error::Error;

/// What is done to which product, in detail: an object.
pub(super) struct Act {
    pub(super) action: Action,
    pub(super) product: ProductName,
    pub(super) detail: Value,
}

impl Releases {
    /// Writes that it has begun, does it, and writes how it ended: `known` says what was there before, and what to add to
    /// the detail. It is not begun if that cannot be written.
    pub(super) async fn audited<T>(
        &self,
        by: &Actor,
        act: Act,
        task: impl Future<Output = Result<T, Error>>,
        known: impl FnOnce(&T) -> (Value, Value),
    ) -> Result<T, Error> {
        Box::pin(self.audit(by, &act, Value::Null, json!({ "outcome": "begun" }))).await?;
        let done = task.await;
        let (before, more) = match &done {
            Ok(done) => known(done),
            Err(error) => {
                (Value::Null, json!({ "outcome": error.cause().map_or("failed", |cause| &cause.code) }))
            }
        };
        if let Err(error) = Box::pin(self.audit(by, &act, before, more)).await {
            tracing::error!(product = %act.product, %error, "how an act on the store ended was not written: {}", act.detail);
        }
        done
    }

    async fn audit(&self, by: &Actor, act: &Act, before: Value, more: Value) -> Result<(), DbErr> {
        let mut after = act.detail.clone();
        if let (Some(after), Value::Object(more)) = (after.as_object_mut(), more) {
            after.extend(more);
        }
        let mut write = self.0.db.write(by).await?;
        write.audit(act.action, &act.product, before, after);
        write.commit().await
    }
}
