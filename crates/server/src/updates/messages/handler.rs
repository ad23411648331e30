//! Batches as they come from the broker. One that cannot be written is halved, down to the message at fault, so that this one
//! never stops the others. One that makes this program panic is treated the same.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use cause::admission as causes;
use futures_util::FutureExt;
use sea_orm::DbErr;
use tokio::time::timeout;

use super::Messages;
use crate::actor::Actor;
use crate::clock::now_ms;
use crate::db::Failure;
use crate::devices::Attempt;
use crate::mqtt::{Handler, Message};

/// Maximum number of characters of what should be an id that are shown.
const ID_SHOWN: usize = 100;
/// Maximum attempts to write a batch before it is halved.
const ATTEMPTS: usize = 3;
/// Longer than the database takes for anything: its machine went away.
const TIMEOUT: Duration = Duration::from_secs(90);

#[async_trait]
impl Handler for Messages {
    /// Answers after the commit.
    async fn messages(&self, batch: &[Message]) -> anyhow::Result<()> {
        let mut waiting = vec![batch];
        while let Some(part) = waiting.pop() {
            let Some(error) = self.attempt(part).await? else { continue };
            if let [message] = part {
                self.drop_message(message, &error).await?;
            } else {
                tracing::warn!(
                    messages = part.len(),
                    "messages cannot be written, and are halved: {error:#}"
                );
                let (first, second) = part.split_at(part.len() / 2);
                waiting.extend([second, first]);
            }
        }
        Ok(())
    }

    fn invalid_id(&self, id: &str) {
        let id: String = id.chars().take(ID_SHOWN).collect();
        tracing::warn!(?id, "a device was not admitted: what stands in its topic is no device id");
        self.not_admitted().note(&id, Attempt::of(causes::INVALID_ID.cause()));
    }
}

impl Messages {
    /// Why a batch cannot be written, if that is so; an error if it may be later.
    async fn attempt(&self, batch: &[Message]) -> anyhow::Result<Option<anyhow::Error>> {
        for attempt in 1.. {
            let taken = timeout(TIMEOUT, AssertUnwindSafe(self.take(batch, now_ms())).catch_unwind()).await;
            let taken = taken.context("the database did not answer within 90 seconds")?;
            let taken = taken
                .unwrap_or_else(|_| Err(anyhow::anyhow!("this program is at fault; its log says where")));
            let Err(error) = taken else { break };
            if error.downcast_ref::<DbErr>().is_some_and(|error| Failure::of(error).passes()) {
                return Err(error);
            }
            if attempt == ATTEMPTS {
                return Ok(Some(error));
            }
        }
        Ok(None)
    }

    async fn drop_message(&self, message: &Message, why: &anyhow::Error) -> anyhow::Result<()> {
        let write = self.0.db.write(&Actor::DEVICES).await?;
        let shown = "it cannot be kept in the database; the server's log says why";
        write.count_unreadable(&message.device, shown, now_ms()).await?;
        write.commit().await?;
        if self.0.unknown.may_log(&message.device) {
            tracing::error!(device = %message.device, kind = ?message.kind, "a message was dropped: {why:#}");
        }
        self.0.events.device(&message.device);
        Ok(())
    }
}
