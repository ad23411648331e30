//! A rollout begins: its devices are chosen and written a part at a time, and it runs once all of them are.

use std::time::Duration;

use api::{LeftOut, NewRollout, RolloutPreview};
use cause::{decision, rollout as causes, service};
use contract::{ChannelName, DeviceId, ProductName, Version};
use fleet::rollout::{members, step_sizes};
use serde_json::Value;
use store::Blocked;
use tokio::time::{Instant, timeout};

use super::members::Selected;
use super::service::{Rollouts, of};
use super::terms;
use crate::actor::Actor;
use crate::clock::now_ms;
use crate::db::Action;
use crate::db::rollout::{PREPARING, RolloutRow};
use crate::db::rollout_device::{self, Joins};
use crate::error::Error;
use crate::releases::{STORE_TIMEOUT, detached};
use crate::updates::target::Target;

/// Maximum number of devices that are written in one transaction.
const WRITTEN_AT_ONCE: usize = 5_000;
/// How long somebody who asked waits until it runs.
const START_TIMEOUT: Duration = Duration::from_secs(45);
/// Of two that begin at once, one is first.
const BEGINS: &str = "rollout_begins";

impl Rollouts {
    /// What it would do.
    #[crate::boxed]
    pub async fn preview(&self, product: &ProductName, asked: &NewRollout) -> Result<RolloutPreview, Error> {
        let (_, selected) = self.prepared(product, asked).await?;
        let devices = selected.members.len() as u64;
        let steps = step_sizes(&terms::shape(asked).steps, devices);
        let left_out = selected.left_out.into_values().collect();
        Ok(RolloutPreview { devices, steps, online: selected.online, left_out })
    }

    /// Begins it, whoever leaves meanwhile.
    #[crate::boxed]
    pub async fn start(
        &self,
        by: &Actor,
        product: &ProductName,
        asked: &NewRollout,
    ) -> Result<api::Rollout, Error> {
        let what = format!("the rollout of {} of {product}", asked.version);
        let (rollouts, by, product, asked) = (self.clone(), by.clone(), product.clone(), asked.clone());
        let begun = async move { rollouts.start_now(&by, &product, &asked).await };
        detached(Instant::now() + START_TIMEOUT, what, begun).await
    }

    async fn start_now(
        &self,
        by: &Actor,
        product: &ProductName,
        asked: &NewRollout,
    ) -> Result<api::Rollout, Error> {
        let (object_key, selected) = self.prepared(product, asked).await?;
        let count = selected.count();
        let Selected { members: devices, left_out, .. } = selected;
        let left_out: Vec<LeftOut> = left_out.into_values().collect();
        if devices.is_empty() {
            let cause = causes::NOBODY.naming("version", &asked.version).with("selected", count);
            let why = left_out.first().map(|first| first.reason.clone());
            let some = (!left_out.is_empty()).then_some(count);
            return Err(Error::Refused(cause.with("left_out", some).with("why", why)));
        }
        let row = RolloutRow {
            id: 0,
            product: product.clone().into(),
            version: asked.version.clone().into(),
            object_key,
            request: asked.clone().into(),
            state: PREPARING.to_owned(),
            is_open: false,
            step: 0,
            opened: 0,
            soak_until: None,
            cause: None,
            is_blocked: false,
            left_out: left_out.into(),
            created_by: by.name.clone().into_owned(),
            created_at: now_ms(),
            finished_at: None,
        };
        let write = self.0.db.write(by).await?;
        let id = write.insert_rollout(&row).await?;
        write.commit().await?;
        // Killed until it runs, the next start of the server forgets it.
        let begun = self.begin(by, id, asked, devices).await;
        if begun.is_err() {
            let write = self.0.db.write(by).await?;
            write.remove_rollout(id).await?;
            write.commit().await?;
        }
        begun?;
        self.0.events.rollout(id);
        self.0.wake.notify_one();
        self.show(id).await
    }

    async fn begin(
        &self,
        by: &Actor,
        id: i64,
        asked: &NewRollout,
        devices: Vec<DeviceId>,
    ) -> Result<(), Error> {
        let members = members(id, &terms::shape(asked).steps, devices);
        let mut joins: Vec<Joins> =
            members.into_iter().map(|(device, step)| Joins { device, step }).collect();
        // In the order in which devices are locked.
        joins.sort_unstable_by(|one, other| one.device.cmp(&other.device));
        for joins in joins.chunks(WRITTEN_AT_ONCE) {
            let write = self.0.db.write(by).await?;
            write.insert_members(id, joins).await?;
            write.commit().await?;
        }
        let mut write = self.0.db.write(by).await?;
        write.set_meta(BEGINS, &id.to_string()).await?;
        if let Some((other, version, devices, first)) = rollout_device::overlap(&write, id).await? {
            let cause =
                causes::OVERLAPS.naming("other", other).with("version", version).naming("devices", devices);
            return Err(Error::Refused(cause.with("examples", first)));
        }
        let mut rollout = write.lock_rollout(id).await?.ok_or_else(|| super::service::unknown(id))?;
        write.take_over(id, &causes::TAKEN_OVER.naming("other", id)).await?;
        "running".clone_into(&mut rollout.state);
        rollout.is_open = true;
        write.save_rollout(&rollout).await?;
        let mut after = of(&rollout.product, &rollout.state);
        if let Some(after) = after.as_object_mut() {
            after.insert("devices".to_owned(), joins.len().into());
            after.insert("request".to_owned(), serde_json::to_value(asked).unwrap_or_default());
        }
        write.audit(Action::ROLLOUT_START, &id, Value::Null, after);
        Ok(write.commit().await?)
    }

    /// What is looked at before it begins: what was asked, the release, and the devices.
    async fn prepared(&self, product: &ProductName, asked: &NewRollout) -> Result<(String, Selected), Error> {
        if let Some(cause) = terms::refusal(asked, now_ms()) {
            return Err(Error::Invalid(cause));
        }
        let object_key = in_time(self.release(product, &asked.version)).await?;
        let target =
            Target { rollout: 0, product: product.clone(), version: asked.version.clone(), timeout_s: 0 };
        Ok((object_key, self.selected(&target, asked).await?))
    }

    /// The object of the release, which is not blocked.
    async fn release(&self, product: &ProductName, version: &Version) -> Result<String, Error> {
        let store = self.0.releases.store();
        let channel = ChannelName::production();
        let (artifact, blocked) =
            tokio::join!(store.artifact(product, &channel, version), store.blocked(product));
        let no_release =
            || Error::NotFound(service::NO_RELEASE.naming("product", product).naming("version", version));
        let artifact = artifact?.ok_or_else(no_release)?;
        match blocked? {
            Blocked::Unreadable(cause) => Err(Error::Refused(cause)),
            Blocked::List(list) => match list.get(version) {
                Some(why) => Err(Error::Refused(
                    causes::BLOCKED_AT_START.naming("version", version).with("why", why.clone()),
                )),
                None => Ok(artifact.key),
            },
        }
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let timeout_s = Duration::as_secs(&STORE_TIMEOUT);
    let late = || Error::StoreUnavailable(decision::STORE_TIMEOUT.with("seconds", timeout_s));
    timeout(STORE_TIMEOUT, asked).await.unwrap_or_else(|_| Err(late()))
}
