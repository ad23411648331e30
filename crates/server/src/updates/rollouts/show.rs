//! Rollouts as they are shown: counted by the same rows as their devices are listed from.

use api::{Page, Rollout, RolloutCounts, RolloutDevice, RolloutDeviceQuery, RolloutState, RolloutStep};
use cause::service as causes;
use contract::ProductName;
use fleet::UpdateState;
use std::collections::HashMap;

use super::service::{Rollouts, unknown};
use super::terms;
use crate::clock::{now_ms, time};
use crate::db::moved::WAITING;
use crate::db::rollout::{self, RolloutRow};
use crate::db::rollout_device::{self, Model as Member};
use crate::db::update::{self, UpdateRow};
use crate::devices::update as shown_update;
use crate::error::Error;

const PAGE_DEFAULT: u32 = 50;

impl Rollouts {
    /// One rollout.
    #[crate::boxed]
    pub async fn show(&self, id: i64) -> Result<Rollout, Error> {
        let row = rollout::by_id(&self.0.db, id).await?.ok_or_else(|| unknown(id))?;
        self.shown(row).await
    }

    /// A product's rollouts, or all, the newest first.
    #[crate::boxed]
    pub async fn list(
        &self,
        product: Option<&ProductName>,
        cursor: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Page<Rollout>, Error> {
        if let Some(product) = product {
            self.0.releases.require_known(product).await?;
        }
        let limit = crate::devices::limit(Some(limit.unwrap_or(PAGE_DEFAULT)))?;
        let below = cursor.map_or(Ok(i64::MAX), |text| text.parse().map_err(|_| no_cursor()))?;
        let mut rows = rollout::page(&self.0.db, product, below, limit as u64 + 1).await?;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| has_more).map(|row| row.id.to_string());
        let mut items = Vec::with_capacity(rows.len());
        for row in rows {
            items.push(self.shown(row).await?);
        }
        Ok(Page { items, next })
    }

    /// How many run, and how many are paused.
    pub(crate) async fn active(&self) -> Result<(u64, u64), Error> {
        let open = rollout::open(&self.0.db).await?;
        let count = |state: &str| open.iter().filter(|row| row.state == state).count() as u64;
        Ok((count("running"), count("paused")))
    }

    async fn shown(&self, row: RolloutRow) -> Result<Rollout, Error> {
        let counts = rollout_device::counts(&self.0.db, row.id).await?;
        let shape = terms::shape(&row.request);
        let of_step =
            |step: usize| of_states(counts.iter().filter(|(of, ..)| usize::try_from(*of) == Ok(step)));
        let steps = shape.steps.iter().enumerate();
        let steps = steps.map(|(n, step)| RolloutStep { step: *step, counts: of_step(n) }).collect();
        let is_running = row.state == "running";
        let opens_at = shape.window.filter(|_| is_running).and_then(|window| window.opens_at(now_ms()));
        Ok(Rollout {
            id: row.id.unsigned_abs(),
            state: RolloutState::try_from(row.state.clone()).unwrap_or(RolloutState::Other(row.state)),
            step: Some(row.step.unsigned_abs() + 1),
            halt_reason: row.cause.as_ref().map(|cause| cause.sentence()),
            cause: row.cause.map(|cause| cause.0),
            blocked: row.is_blocked,
            soak_until: row.soak_until.filter(|_| row.finished_at.is_none()).map(time),
            window_opens_at: opens_at.map(time),
            counts: of_states(counts.iter()),
            steps,
            left_out: row.left_out.0,
            product: row.product.0,
            version: row.version.0,
            request: Some(row.request.0),
            created_by: row.created_by,
            created_at: Some(time(row.created_at)),
            finished_at: row.finished_at.map(time),
        })
    }

    /// A rollout's devices, by id; those in a state by step and id.
    #[crate::boxed]
    pub async fn devices(&self, id: i64, query: &RolloutDeviceQuery) -> Result<Page<RolloutDevice>, Error> {
        rollout::by_id(&self.0.db, id).await?.ok_or_else(|| unknown(id))?;
        let limit = crate::devices::limit(query.limit)?;
        let cursor = query.cursor.as_deref().unwrap_or_default();
        if cursor.contains('\0') {
            return Err(no_cursor());
        }
        let state = query.state.as_deref().filter(|state| !state.is_empty());
        let mut rows = match state {
            None => rollout_device::page(&self.0.db, id, cursor, limit as u64 + 1).await?,
            Some(state) => self.in_states(id, &states(state)?, cursor, limit + 1).await?,
        };
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let position = |row: &Member| match state {
            None => row.device.to_string(),
            Some(_) => format!("{}/{}/{}", row.state, row.step, *row.device),
        };
        let next = rows.last().filter(|_| has_more).map(position);
        let updates: Vec<i64> = rows.iter().filter_map(|row| row.update_id).collect();
        let updates = update::by_ids(&self.0.db, &updates).await?.into_iter();
        let mut updates: HashMap<i64, UpdateRow> = updates.map(|update| (update.id, update)).collect();
        let item = |row: Member| {
            let update = row.update_id.and_then(|id| updates.remove(&id)).map(shown_update);
            let said = row.cause.map(|cause| cause.sentence());
            RolloutDevice {
                device: row.device.0,
                step: row.step.unsigned_abs() + 1,
                state: row.state,
                update: row.update_id,
                from: update.as_ref().and_then(|update| update.from.clone()),
                reason: said.or_else(|| update.and_then(|update| update.reason)),
            }
        };
        Ok(Page { items: rows.into_iter().map(item).collect(), next })
    }

    /// One state after the other. The cursor is `state/step/id`.
    async fn in_states(
        &self,
        id: i64,
        states: &[&'static str],
        cursor: &str,
        limit: usize,
    ) -> Result<Vec<Member>, Error> {
        let (mut states, mut above) = (states, (0, ""));
        if !cursor.is_empty() {
            let mut parts = cursor.splitn(3, '/');
            let at = parts.next().and_then(|word| states.iter().position(|state| *state == word));
            let step = parts.next().and_then(|step| step.parse().ok());
            let (Some(at), Some(step), Some(device)) = (at, step, parts.next()) else {
                return Err(no_cursor());
            };
            (states, above) = (&states[at..], (step, device));
        }
        let mut rows = Vec::new();
        for state in states {
            let left = (limit - rows.len()) as u64;
            rows.extend(rollout_device::in_state(&self.0.db, id, state, above, left).await?);
            if rows.len() == limit {
                break;
            }
            above = (0, "");
        }
        Ok(rows)
    }
}

fn no_cursor() -> Error {
    Error::Invalid(causes::CURSOR.cause())
}

/// The states that a word stands for.
fn states(word: &str) -> Result<Vec<&'static str>, Error> {
    let named = |of: &dyn Fn(UpdateState) -> bool| {
        UpdateState::ALL.into_iter().filter(|state| of(*state)).map(UpdateState::as_str).collect()
    };
    match word {
        WAITING => Ok(vec![WAITING, UpdateState::Deferred.as_str()]),
        "in_flight" => Ok(named(&|state| state.is_in_flight() && state != UpdateState::Deferred)),
        "not_succeeded" => Ok(named(&is_failure)),
        _ => UpdateState::from_word(word).map(|state| vec![state.as_str()]).ok_or_else(|| {
            let words: Vec<&str> = UpdateState::ALL.iter().map(|state| state.as_str()).collect();
            let words = format!("{WAITING}, in_flight, not_succeeded, {}", words.join(", "));
            Error::Invalid(cause::rollout::NO_STATE.with("states", words).with("word", format!("{word:?}")))
        }),
    }
}

fn is_failure(state: UpdateState) -> bool {
    matches!(state, UpdateState::Failed | UpdateState::RolledBack | UpdateState::TimedOut)
}

fn of_states<'a>(counts: impl Iterator<Item = &'a (i64, String, u64)>) -> RolloutCounts {
    let mut all = RolloutCounts::default();
    for (_, state, devices) in counts {
        all.total += devices;
        *match UpdateState::from_word(state) {
            None | Some(UpdateState::Deferred) => &mut all.waiting,
            Some(UpdateState::Succeeded) => &mut all.succeeded,
            Some(UpdateState::Failed) => &mut all.failed,
            Some(UpdateState::RolledBack) => &mut all.rolled_back,
            Some(UpdateState::TimedOut) => &mut all.timed_out,
            Some(UpdateState::Cancelled) => &mut all.cancelled,
            Some(_) => &mut all.in_flight,
        } += devices;
    }
    all
}
