//! Periodic work: silence, who is online, slots to be recorded, the mirror of the bucket, the audit's seals, what has expired.

use std::time::{Duration, Instant};

use anyhow::Context;
use store::Store;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::clock::{Jumps, now_ms};
use crate::config::Config;
use crate::devices::{Devices, Presence};
use crate::error::Error;
use crate::events::Events;
use crate::mqtt::{Delivery, Link, LinkState, Mqtt};
use crate::releases::{RecordedSlots, Refreshed, Releases, StoreHealth};
use crate::services::Services;
use crate::tasks::{Tasks, Working};
use crate::updates::{SilenceClock, Updates};

const EVERY: Duration = Duration::from_secs(1);
/// How often who came and went is written, at most.
const PRESENCE_EVERY: Duration = Duration::from_millis(200);
/// How often it is looked whether the smallest slot of a product has changed.
const SLOTS_EVERY: Duration = Duration::from_secs(2);
/// How often the audit is sealed.
const SEALED_EVERY: Duration = Duration::from_mins(1);
/// Expired sessions and old history are forgotten this often.
const SWEPT_EVERY: Duration = Duration::from_hours(1);

const TICK: &str = "what finds silent devices";
const PRESENCE: &str = "what writes who is online";
const SENDER: &str = "what sends triggers";
const ROLLOUTS: &str = "what carries out rollouts";

/// Begins all of it; it ends when `stop` is cancelled.
pub(crate) fn spawn(services: &Services, config: &Config, mqtt: &Mqtt, tasks: &Tasks) {
    let link = mqtt.link();
    let Services { updates, releases, store_health, events, .. } = services.clone();
    let (every, stop) = (Duration::from_secs(config.store.refresh_s.into()), || tasks.stopping().clone());
    let (presence, working) = (services.devices.presence().clone(), |name| tasks.working(name));
    let ticking = run(Tick::new(services), (link.clone(), mqtt.delivery().clone()), stop(), working(TICK));
    tasks.spawn(TICK, Box::pin(ticking));
    let writing = write_presence(presence, updates.clone(), stop(), working(PRESENCE));
    tasks.spawn(PRESENCE, Box::pin(writing));
    tasks.spawn("what forgets", Box::pin(forget(services.access.clone(), updates.clone(), stop())));
    tasks.spawn("what seals the audit", Box::pin(seal(services.access.clone(), stop())));
    tasks.spawn(SENDER, Box::pin(updates.clone().send(stop(), working(SENDER))));
    let rollouts = services.rollouts.clone().run_forever(stop(), working(ROLLOUTS));
    tasks.spawn(ROLLOUTS, Box::pin(rollouts));
    tasks.spawn("what records slots", Box::pin(record_slots(releases.clone(), stop())));
    tasks.spawn("what withdraws blocked versions", Box::pin(updates.clone().withdraw_forever(stop())));
    tasks.spawn("what reads images", Box::pin(releases.clone().read_images_forever(stop())));
    let preparing = prepare(releases.store().clone(), stop());
    tasks.spawn("what looks at the store", Box::pin(preparing));
    tasks.spawn("what reads the store", Box::pin(refresh(releases, store_health, every, stop())));
    tasks.spawn("what watches the broker", Box::pin(watch_link(link, events.clone(), stop())));
    tasks.spawn("what watches the figures", Box::pin(watch_counts(services.devices.clone(), events, stop())));
}

pub(crate) struct Tick {
    presence: Presence,
    updates: Updates,
    silence: SilenceClock,
}

impl Tick {
    pub(crate) fn new(services: &Services) -> Self {
        Self {
            presence: services.devices.presence().clone(),
            updates: services.updates.clone(),
            silence: SilenceClock::default(),
        }
    }

    /// `up`: the broker answers and delivers, and what it had kept has been handled.
    pub(crate) async fn tick(&mut self, now: i64, up: bool) -> anyhow::Result<()> {
        self.presence.sweep(now).await.context("noting who is gone")?;
        if up { self.silence.tick(&self.updates, now).await } else { Ok(()) }
    }
}

/// Who came and went is written at once, and then again after a moment, in which many come; and who has subscribed meanwhile gets
/// what waits. What fails is logged and done again.
async fn write_presence(presence: Presence, updates: Updates, stop: CancellationToken, working: Working) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = presence.changes() => {}
        }
        // Those who go because the server stops are not written: the next start's epoch makes them offline.
        while !stop.is_cancelled() {
            let written = working.on(async {
                let are_all = presence.write_changes().await?;
                updates.wake_subscribed().await?;
                anyhow::Ok(are_all)
            });
            match written.await {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(
                        "who is online was not written, or not looked for who waits, and will be: {error:#}"
                    );
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(EVERY) => {}
                    }
                }
            }
        }
        tokio::time::sleep(PRESENCE_EVERY).await;
    }
}

/// What fails is logged and done at the next tick.
async fn run(mut tick: Tick, (link, delivery): (Link, Delivery), stop: CancellationToken, working: Working) {
    let (mut interval, mut jumps) = (tokio::time::interval(EVERY), Jumps::default());
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = interval.tick() => {}
        }
        let (up, now) = (*link.borrow() == LinkState::Up && !delivery.is_deaf(), now_ms());
        if jumps.since_last(now, Instant::now()) {
            tick.presence.wait_for_reports();
        }
        if let Err(error) = working.on(tick.tick(now, up)).await {
            tracing::error!("the tick failed, and is tried again: {error:#}");
        }
    }
}

/// Forgets expired tokens, and old history a little at a time.
async fn forget(access: Access, updates: Updates, stop: CancellationToken) {
    let (mut pause, mut above) = (EVERY, 0);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let now = now_ms();
        let forgotten = async {
            access.remove_expired(now).await?;
            let last = updates.forget_updates(now, above).await?;
            above = last.unwrap_or(0);
            Ok::<_, Error>(updates.forget_events(now).await? || last.is_some())
        };
        let there_is_more = forgotten.await.unwrap_or_else(|error| {
            tracing::error!("what has expired was not forgotten, and will be: {error:#}");
            false
        });
        pause = if there_is_more { EVERY } else { SWEPT_EVERY };
    }
}

/// Seals the audit, at the start and at the stop too, which waits a second for it at most.
async fn seal(access: Access, stop: CancellationToken) {
    let is_over = async || {
        stop.cancelled().await;
        tokio::time::sleep(EVERY).await;
    };
    loop {
        let is_last = stop.is_cancelled();
        let sealed = tokio::select! {
            sealed = access.seal_audit(now_ms()) => sealed,
            () = is_over() => return,
        };
        let there_is_more = sealed.unwrap_or_else(|error| {
            tracing::error!("the audit was not sealed, and will be: {error:#}");
            false
        });
        if is_last {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(if there_is_more { Duration::ZERO } else { SEALED_EVERY }) => {}
        }
    }
}

/// Keeps what the store says of the devices' smallest slots up to date.
async fn record_slots(releases: Releases, stop: CancellationToken) {
    let mut recorded = RecordedSlots::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SLOTS_EVERY) => {}
        }
        let done = tokio::select! {
            () = stop.cancelled() => return,
            done = releases.record_slots(&mut recorded) => done,
        };
        if let Err(error) = done {
            tracing::error!("looking for the smallest slots failed, and is tried again: {error:#}");
        }
    }
}

/// Finds out, and says in the log, what a compatible store does not promise. One that may not be written, or does not
/// answer now, says so when it is written.
async fn prepare(store: Store, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => return,
        _ = store.prepare_to_write() => {}
    }
    stop.cancelled().await;
}

/// Reads what the store holds, for showing, as often as configured.
async fn refresh(releases: Releases, health: StoreHealth, every: Duration, stop: CancellationToken) {
    let mut logged = None;
    // A server that starts reads in any case: it may have another bucket than the one before. Then the first of several that
    // looks does; a little early is early enough.
    let mut pause = Duration::ZERO;
    loop {
        let begun = Instant::now();
        let refreshed = tokio::select! {
            () = stop.cancelled() => return,
            refreshed = releases.mirror().refresh_all_after(pause) => refreshed,
        };
        pause = every * 3 / 4;
        match refreshed {
            Ok(None) => {}
            Ok(Some(Refreshed::Done)) => {
                health.answers();
                logged = None;
            }
            // Not all of it answered, and that may be one product or everything.
            Ok(Some(Refreshed::GoesOn)) => {
                health.problem().await;
            }
            Err(error) => {
                let sentence = error.to_string();
                // Something in it cannot be read, or it does not answer at all: then its health says so.
                if health.problem().await.is_none() && logged.as_ref() != Some(&sentence) {
                    tracing::warn!("what the store holds was not read, or not all of it: {sentence}");
                }
                logged = Some(sentence);
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            // What another program changes shows so soon. A bucket that takes longer than that has a pause all the same.
            () = tokio::time::sleep(every.saturating_sub(begun.elapsed()).max(every / 4)) => {}
        }
    }
}

async fn watch_link(mut link: Link, events: Events, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = link.changed() => {
                if changed.is_err() {
                    return;
                }
                events.health();
            }
        }
    }
}

/// Who looked and had older figures looks again.
async fn watch_counts(devices: Devices, events: Events, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = devices.recounted() => events.health(),
        }
    }
}
