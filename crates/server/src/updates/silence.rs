//! Ending the updates of devices that fell silent.
//!
//! The clock of silence stands still while the server or its broker link is down and until the backlog is worked
//! off: what it stood still is added to every update that was waiting then, before anybody is found silent.

use anyhow::Context;
use fleet::Event;

use super::service::{Updates, change, write as record};
use crate::db::{meta, update};

/// How often it is written that the server is alive: at most so much of an update's time-out is lost.
const HEARTBEAT_MS: i64 = 5_000;
/// The clock stood still if the last tick was longer ago than this.
const STANDSTILL_MS: i64 = 15_000;
/// Silent updates ended in one transaction.
const BATCH: i64 = 500;

#[derive(Debug, Default)]
pub(crate) struct SilenceClock {
    /// When the server was last alive with its broker.
    alive: Option<i64>,
    written: i64,
}

impl SilenceClock {
    /// To be called while the broker answers and what it had kept has been handled.
    pub(crate) async fn tick(&mut self, updates: &Updates, now: i64) -> anyhow::Result<()> {
        self.wake(updates, now).await.context("moving the clock of silence")?;
        end_silent(updates, now).await.context("ending silent updates")
    }

    /// Adds what the clock stood still, and writes that the server is alive.
    async fn wake(&mut self, updates: &Updates, now: i64) -> anyhow::Result<()> {
        let alive_at = match self.alive {
            Some(alive_at) => Some(alive_at),
            None => updates.0.db.meta(meta::ALIVE_AT).await?.and_then(|text| text.parse().ok()),
        };
        let stood_still = alive_at.filter(|alive_at| now - alive_at > STANDSTILL_MS);
        if stood_still.is_some() || now - self.written >= HEARTBEAT_MS || now < self.written {
            let write = updates.0.db.write().await?;
            if let Some(stopped_at) = stood_still {
                // In one transaction with the heartbeat: killed in between, it would be added twice.
                let moved = write.shift_silence(stopped_at, now - stopped_at).await?;
                tracing::info!(
                    seconds = (now - stopped_at) / 1000,
                    updates = moved,
                    "the clock of silence stood still"
                );
            }
            write.set_meta(meta::ALIVE_AT, &now.to_string()).await?;
            write.commit().await?;
            self.written = now;
        }
        self.alive = Some(now);
        Ok(())
    }
}

async fn end_silent(updates: &Updates, now: i64) -> anyhow::Result<()> {
    let limit = now - i64::from(updates.0.update_timeout_s) * 1000;
    loop {
        if update::silent_since(&updates.0.db, limit, 1).await?.is_empty() {
            return Ok(());
        }
        let write = updates.0.db.write().await?;
        let mut silent = update::silent_since(&write, limit, BATCH).await?;
        for update in &mut silent {
            if let Some(change) = change(update, &Event::Silence) {
                record(update, change, now);
            }
            write.save_update(update).await?;
        }
        write.commit().await?;
        for update in &silent {
            updates.0.events.device(&update.device);
        }
    }
}
