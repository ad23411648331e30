//! What time brings: silence, triggers that are still to be sent, what has expired.
//!
//! The clock of silence stands still while the server or its broker link is down and until the backlog is worked
//! off: what it stood still is added to every update that was waiting then, before anybody is found silent.

use std::time::Duration;

use anyhow::Context;
use fleet::Event;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Taught, now_ms, settle};
use crate::db::{meta, update};
use crate::mqtt::LinkState;

/// How often time is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether the smallest slot of a product has changed.
const SLOTS_EVERY: Duration = Duration::from_secs(2);
/// How often it is written that the server is alive; so much is lost at most of an update's patience.
const HEARTBEAT_MS: i64 = 5_000;
/// The clock stood still if the last tick was longer ago than this.
const STANDSTILL_MS: i64 = 15_000;
/// Silent updates ended in one transaction.
const BATCH: i64 = 500;
/// Expired sessions are forgotten this often.
const SWEEP_MS: i64 = 3_600_000;

/// What the last tick left.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// When the server was last alive with its broker.
    alive: Option<i64>,
    /// When that was last written.
    written: i64,
    /// When what has expired was last forgotten.
    swept: i64,
}

/// Ticks until `stop` is cancelled. What fails is logged and done at the next tick.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    let mut clock = Clock::default();
    let mut interval = tokio::time::interval(EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = interval.tick() => {}
        }
        let up = app.mqtt().is_some_and(|mqtt| *mqtt.link().borrow() == LinkState::Up);
        if let Err(error) = clock.tick(&app, now_ms(), up).await {
            tracing::error!("the tick failed, and is tried again: {error:#}");
        }
    }
}

/// Sends what is still to be sent, until `stop` is cancelled. Not part of the tick: a store that does not answer
/// takes its time.
pub(crate) async fn resend(app: App, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        if !app.mqtt().is_some_and(|mqtt| *mqtt.link().borrow() == LinkState::Up) {
            continue;
        }
        if let Err(error) = app.send_untriggered(now_ms()).await {
            tracing::error!("sending what is still to be sent failed, and is tried again: {error:#}");
        }
    }
}

/// Keeps what the store says of the devices' smallest slots up to date, until `stop` is cancelled.
pub(crate) async fn teach_slots(app: App, stop: CancellationToken) {
    let mut taught = Taught::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SLOTS_EVERY) => {}
        }
        let done = tokio::select! {
            () = stop.cancelled() => return,
            done = app.teach_slots(&mut taught) => done,
        };
        if let Err(error) = done {
            tracing::error!("looking for the smallest slots failed, and is tried again: {error:#}");
        }
    }
}

impl Clock {
    /// `up`: the broker answers, and what it had kept has been worked off.
    pub(crate) async fn tick(&mut self, app: &App, now: i64, up: bool) -> anyhow::Result<()> {
        app.write_seen().await.context("noting who was seen")?;
        if now - self.swept >= SWEEP_MS {
            let write = app.db().write().await?;
            write.remove_expired(now).await?;
            write.commit().await?;
            self.swept = now;
        }
        if !up {
            return Ok(());
        }
        self.wake(app, now).await.context("moving the clock of silence")?;
        end_silent(app, now).await.context("ending silent updates")
    }

    /// Adds what the clock stood still, and writes that the server is alive.
    async fn wake(&mut self, app: &App, now: i64) -> anyhow::Result<()> {
        let alive_at = match self.alive {
            Some(alive_at) => Some(alive_at),
            None => app.db().meta(meta::ALIVE_AT).await?.and_then(|text| text.parse().ok()),
        };
        let stood_still = alive_at.filter(|alive_at| now - alive_at > STANDSTILL_MS);
        if stood_still.is_some() || now - self.written >= HEARTBEAT_MS || now < self.written {
            let write = app.db().write().await?;
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

/// Ends the updates of devices that fell silent.
async fn end_silent(app: &App, now: i64) -> anyhow::Result<()> {
    let limit = now - i64::from(app.config().fleet.update_timeout_s) * 1000;
    loop {
        if update::silent_since(app.db(), limit, 1).await?.is_empty() {
            return Ok(());
        }
        let write = app.db().write().await?;
        let mut silent = update::silent_since(&write, limit, BATCH).await?;
        for update in &mut silent {
            let view =
                fleet::UpdateView { state: update.state, from: update.from.clone(), to: update.to.clone() };
            if let Some(change) = fleet::apply(&view, &Event::Silence) {
                settle(update, change, now);
            }
            write.save_update(update).await?;
        }
        write.commit().await?;
        for update in &silent {
            app.announce().device(&update.device);
        }
    }
}
