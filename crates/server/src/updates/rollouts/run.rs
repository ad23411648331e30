//! The one task that carries rollouts out: it looks at each that is open, asks the planner, and does what it says. What it
//! remembers is only how many devices are where, until some have moved.

use std::collections::HashMap;
use std::time::Duration;

use cause::rollout as causes;
use contract::ChannelName;
use fleet::rollout::{Action, Life, Snapshot, StepCounts, plan};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::service::Rollouts;
use super::terms;
use crate::actor::Actor;
use crate::clock::now_ms;
use crate::db::rollout::{self, RolloutRow};
use crate::db::rollout_device;
use crate::error::Error;
use crate::mqtt::LinkState;
use crate::releases::STORE_TIMEOUT;
use crate::tasks::Working;

/// How often it is looked at what time alone changes, and who has come.
const EVERY: Duration = Duration::from_secs(1);
/// Between two looks, at least.
const APART: Duration = Duration::from_millis(20);
/// After a failure.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Maximum number of devices that are offered something at a time.
const OFFERED_MAX: u64 = 2_000;
/// Counting takes at most a quarter of the time.
const COUNTING_SHARE: u32 = 4;

impl Rollouts {
    /// Carries out what runs, while the broker answers, until `stop` is cancelled.
    pub(crate) async fn run_forever(self, stop: CancellationToken, working: Working) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.run(&working) => {}
        }
    }

    async fn run(&self, working: &Working) {
        while let Err(error) = self.forget_prepared().await {
            tracing::error!("rollouts that had not begun were not forgotten, and will be: {error}");
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        let (mut link, mut moved) = (self.0.updates.link(), self.0.db.moved());
        let mut executor = Executor::new(self.clone());
        loop {
            if *link.borrow_and_update() != LinkState::Up {
                executor.up_since = None;
                if let Err(error) = working.on(executor.wind_up()).await {
                    tracing::error!("rollouts were not ended, and will be: {error}");
                }
                tokio::select! {
                    changed = link.changed() => if changed.is_err() { return },
                    () = self.0.wake.notified() => {}
                }
                continue;
            }
            let pause = match working.on(executor.round(now_ms())).await {
                Ok(true) => APART,
                Ok(false) => EVERY,
                Err(error) => {
                    tracing::error!("rollouts were not looked at, and will be: {error}");
                    AGAIN_AFTER
                }
            };
            tokio::time::sleep(APART).await;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.0.wake.notified() => {}
                Ok(()) = moved.changed() => executor.note_moved(),
                Ok(()) = link.changed() => {}
            }
        }
    }

    async fn forget_prepared(&self) -> Result<(), Error> {
        let write = self.0.db.write(&Actor::SERVER).await?;
        write.remove_prepared().await?;
        Ok(write.commit().await?)
    }
}

/// What is remembered of a rollout.
#[derive(Default)]
struct Known {
    counts: Option<Vec<StepCounts>>,
    /// Since when they are to be counted again.
    is_old: bool,
    /// When they were counted, and how long that took.
    counted: Option<(Instant, Duration)>,
    not_before: Option<Instant>,
}

pub(crate) struct Executor {
    rollouts: Rollouts,
    known: HashMap<i64, Known>,
    /// Since when the broker answers.
    pub(crate) up_since: Option<i64>,
}

impl Executor {
    pub(crate) fn new(rollouts: Rollouts) -> Self {
        Self { rollouts, known: HashMap::new(), up_since: None }
    }

    pub(crate) fn note_moved(&mut self) {
        self.known.values_mut().for_each(|known| known.is_old = true);
    }

    /// Looks at each rollout once. Answers whether there is more to do at once.
    pub(crate) async fn round(&mut self, now: i64) -> Result<bool, Error> {
        self.up_since.get_or_insert(now);
        let open = rollout::open(&self.rollouts.0.db).await?;
        self.known.retain(|id, _| open.iter().any(|row| row.id == *id));
        let mut there_is_more = false;
        for row in &open {
            let known = self.known.entry(row.id).or_default();
            if known.not_before.is_some_and(|time| Instant::now() < time) {
                continue;
            }
            match self.look_at(row, now).await {
                Ok(more) => there_is_more |= more,
                Err(error) => {
                    tracing::warn!(
                        rollout = row.id,
                        "a rollout does not get on, and will be looked at again: {error}"
                    );
                    self.wait(row.id);
                    // What was not counted, or may have been written, is counted again.
                    self.known.entry(row.id).or_default().is_old = true;
                }
            }
        }
        Ok(there_is_more)
    }

    /// Ends those that were halted or aborted, which takes no broker.
    pub(crate) async fn wind_up(&self) -> Result<(), Error> {
        for row in rollout::open(&self.rollouts.0.db).await? {
            if matches!(row.state.as_str(), "halted" | "aborted") {
                self.rollouts.wind_up(&row).await?;
            }
        }
        Ok(())
    }

    fn wait(&mut self, id: i64) {
        self.known.entry(id).or_default().not_before = Some(Instant::now() + AGAIN_AFTER);
    }

    async fn look_at(&mut self, row: &RolloutRow, now: i64) -> Result<bool, Error> {
        let life = match row.state.as_str() {
            "running" => Life::Running,
            "paused" => Life::Paused,
            "done" => Life::Done,
            _ => {
                self.rollouts.wind_up(row).await?;
                return Ok(false);
            }
        };
        let Some(counts) = self.counts(row).await? else { return Ok(true) };
        if life == Life::Done && counts.iter().all(|step| step.waiting + step.in_flight == 0) {
            self.rollouts.close(row).await?;
            return Ok(false);
        }
        let snapshot = self.snapshot(row, life, counts, now).await?;
        let mut there_is_more = false;
        for action in plan(&snapshot, now) {
            there_is_more |= self.act(row, action).await?;
        }
        Ok(there_is_more)
    }

    async fn snapshot(
        &self,
        row: &RolloutRow,
        life: Life,
        counts: Vec<StepCounts>,
        now: i64,
    ) -> Result<Snapshot, Error> {
        let inner = &self.rollouts.0;
        let blocked = inner
            .updates
            .closed(&row.object_key)
            .await
            .map(|cause| causes::BLOCKED.naming("version", &*row.version).with("why", cause.text("why")));
        let candidates = rollout_device::candidates(&inner.db, row.id, inner.db.epoch(), OFFERED_MAX).await?;
        let up_for = now - self.up_since.unwrap_or(now);
        Ok(Snapshot {
            shape: terms::shape(&row.request),
            version: row.version.to_string(),
            life,
            step: usize::try_from(row.step).unwrap_or_default(),
            opened: usize::try_from(row.opened).unwrap_or_default(),
            soak_until: row.soak_until,
            blocked,
            counts,
            candidates,
            is_presence_known: up_for >= inner.presence_grace_ms,
        })
    }

    /// How many devices are where; `None` while it is too early to count them again.
    async fn counts(&mut self, row: &RolloutRow) -> Result<Option<Vec<StepCounts>>, Error> {
        let known = self.known.entry(row.id).or_default();
        if let Some(counts) = known.counts.clone().filter(|_| !known.is_old) {
            return Ok(Some(counts));
        }
        if known.counted.is_some_and(|(at, took)| at.elapsed() < took * COUNTING_SHARE) {
            return Ok(None);
        }
        let begun = Instant::now();
        // What moves from here on is counted again.
        known.is_old = false;
        let counted = rollout_device::counts(&self.rollouts.0.db, row.id).await?;
        let steps = terms::shape(&row.request).steps.len();
        let counts = rollout_device::by_step(&counted, steps);
        known.counted = Some((Instant::now(), begun.elapsed()));
        if known.counts.replace(counts.clone()).is_some_and(|before| before != counts) {
            self.rollouts.0.events.rollout(row.id);
        }
        Ok(Some(counts))
    }

    /// Answers whether there may be more to do at once.
    async fn act(&mut self, row: &RolloutRow, action: Action) -> Result<bool, Error> {
        let rollouts = self.rollouts.clone();
        match action {
            Action::Open(step) => rollouts.open_step(row, step).await?,
            Action::Offer(devices) => {
                if let Some(version) = superseded(&rollouts, row).await? {
                    let cause = causes::SUPERSEDED.naming("channel", ChannelName::production());
                    rollouts.cancel_waiting(row, &cause.with("version", version)).await?;
                    return Ok(true);
                }
                let offered = rollouts.offer(row, &devices).await?;
                if let Some(cause) = offered.blocked {
                    let halt =
                        causes::BLOCKED.naming("version", &*row.version).with("why", cause.text("why"));
                    if row.state == "done" {
                        rollouts.cancel_waiting(row, &halt).await?;
                    } else {
                        rollouts.stop(row, "halted", halt).await?;
                    }
                } else if let Some(cause) = offered.unavailable {
                    tracing::warn!(rollout = row.id, "a rollout offers nothing now, and will: {cause}");
                    self.wait(row.id);
                }
                self.known.entry(row.id).or_default().is_old = true;
                return Ok(offered.made > 0);
            }
            Action::Soak(until) => rollouts.advance(row, |row| row.soak_until = Some(until)).await?,
            Action::Enter(step) => {
                let step = i64::try_from(step).unwrap_or(i64::MAX);
                rollouts.advance(row, |row| (row.step, row.soak_until) = (step, None)).await?;
            }
            Action::CancelWaiting(cause) => {
                rollouts.cancel_waiting(row, &cause).await?;
                self.known.entry(row.id).or_default().is_old = true;
            }
            Action::Halt(cause) => rollouts.stop(row, "halted", cause).await?,
            Action::Abort(cause) => rollouts.stop(row, "aborted", cause).await?,
            Action::Finish => rollouts.finish(row).await?,
        }
        Ok(true)
    }
}

/// Of one that is done and was promoted: what is in its place by now, if something is.
async fn superseded(rollouts: &Rollouts, row: &RolloutRow) -> Result<Option<String>, Error> {
    if row.state != "done" || !row.request.promote.unwrap_or(true) {
        return Ok(None);
    }
    let (store, channel) = (rollouts.0.releases.store(), ChannelName::production());
    let Ok(version) = timeout(STORE_TIMEOUT, store.channel(&row.product, &channel)).await else {
        return Ok(None);
    };
    Ok(version?.filter(|version| *version != row.version.0).map(|version| version.to_string()))
}
