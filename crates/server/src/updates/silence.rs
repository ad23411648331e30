//! Ending the updates of devices that fell silent.
//!
//! The clock of silence stands still while the server or its broker link is down and until the backlog is worked
//! off: what it stood still is added to every update that was waiting then, before anybody is found silent. A clock that was set
//! forward looks the same; of one that was set back no update waits for the hours that come twice.

use std::collections::HashMap;

use anyhow::Context;
use cause::update as ends;
use fleet::{Action, Change, Flight, Snapshot, Subject, UpdateState, Why, plan};

use super::later::ask_again;
use super::service::{BATCH, Updates, flight_of, heard_of, refusal_of, write as record};
use super::urls::packet_bytes;
use crate::actor::Actor;
use crate::db::{meta, silent};

/// How often it is written that the server is alive: at most so much of an update's time-out is lost.
const HEARTBEAT_MS: i64 = 5_000;
/// What fits into the buffer of each client that people use.
const SMALLEST_BUFFER_BYTES: usize = 128;
/// The clock stood still if the last tick was longer ago than this.
const STANDSTILL_MS: i64 = 15_000;

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
        end_silent(updates, now).await.context("ending silent updates")?;
        ask_again(updates, now).await.context("asking again who was not to be updated yet")
    }

    /// Adds what the clock stood still, or takes away what it was set back, and writes that the server is alive.
    async fn wake(&mut self, updates: &Updates, now: i64) -> anyhow::Result<()> {
        let stood_still = |alive_at: &i64| now - alive_at > STANDSTILL_MS;
        let is_set_back = self.alive.is_none_or(|alive_at| now < alive_at);
        let maybe = is_set_back || self.alive.as_ref().is_some_and(stood_still);
        if maybe || now - self.written >= HEARTBEAT_MS || now < self.written {
            let write = updates.0.db.write(&Actor::SERVER).await?;
            // Of two servers that slept, the first adds it.
            let written = write.lock_meta(meta::ALIVE_AT).await?.and_then(|text| text.parse().ok());
            if let Some(stopped_at) = self.alive.max(written).filter(stood_still) {
                // In one transaction with the heartbeat: killed in between, it would be added twice.
                write.shift_soaks(stopped_at, now - stopped_at).await?;
                let moved = write.shift_silence(stopped_at, now - stopped_at).await?;
                tracing::info!(
                    seconds = (now - stopped_at) / 1000,
                    updates = moved,
                    "the clock of silence stood still"
                );
            }
            if is_set_back {
                write.clamp_silence(now).await?;
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
    for timeout_s in silent::timeouts(&updates.0.db).await? {
        let usual_s = i64::from(updates.0.update_timeout_s);
        end_silent_for(updates, timeout_s, if timeout_s == 0 { usual_s } else { timeout_s } * 1000, now)
            .await?;
    }
    Ok(())
}

async fn end_silent_for(updates: &Updates, timeout_s: i64, timeout_ms: i64, now: i64) -> anyhow::Result<()> {
    loop {
        let silent = silent::silent_since(&updates.0.db, timeout_s, now - timeout_ms, BATCH as u64).await?;
        if silent.is_empty() {
            return Ok(());
        }
        let mut packets = HashMap::new();
        for update in silent.iter().filter(|update| *update.state == UpdateState::Offered) {
            // Signed once more, to see how long it is. Where that fails there is nothing to say of it.
            if let Ok(url) = updates.0.urls.of(update).await {
                packets.insert(update.id, packet_bytes(update, &url));
            }
        }
        let write = updates.0.db.write(&Actor::SERVER).await?;
        // Who was heard before the lock is not silent any more.
        let mut silent = write.lock_updates(silent.iter()).await?;
        let subjects = silent.iter().map(|(device, update)| {
            let flight = Some(Flight { heard: heard_of(device), ..flight_of(update) });
            (device.id.0.clone(), Subject { flight, ..Subject::default() })
        });
        let devices = subjects.collect();
        let snapshot = Snapshot { devices, timeout_ms: Some(timeout_ms), ..Snapshot::default() };
        let mut ended: HashMap<i64, Change> = plan(&snapshot, now).into_iter().filter_map(end).collect();
        silent.retain(|(_, update)| ended.contains_key(&update.id));
        for (device, update) in &mut silent {
            if let Some(mut change) = ended.remove(&update.id) {
                let is_online = updates.0.devices.presence().is_online(device);
                let packet =
                    packets.get(&update.id).filter(|bytes| is_online && **bytes > SMALLEST_BUFFER_BYTES);
                change.why = change.why.map(|why| match (why, packet) {
                    (Why::Cause(cause), Some(bytes)) if cause.is(ends::SILENT_AFTER_TRIGGER) => {
                        Why::Cause(cause.with("packet_bytes", *bytes as u64))
                    }
                    (why, _) => why,
                });
                if let Some(refused) = refusal_of(update) {
                    change.why = Some(Why::Cause(refused.clone()));
                }
                record(update, "silence", change, now);
            }
        }
        write.save(silent.iter_mut().map(|(device, update)| (device, Some(&*update)))).await?;
        write.commit().await?;
        for (_, update) in &silent {
            updates.0.events.device(&update.device);
        }
    }
}

fn end(action: Action) -> Option<(i64, Change)> {
    let Action::End { update, change } = action else { return None };
    Some((update, change))
}
