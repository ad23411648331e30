//! Which devices take part: looked for a page at a time, and decided upon as if they were there now.

use std::collections::{BTreeMap, HashSet};

use api::LeftOut;
use contract::DeviceId;
use fleet::Decision;
use fleet::rollout::VersionRange;

use super::service::Rollouts;
use super::terms;
use crate::db::device::{self, DeviceRow};
use crate::db::device_list::{self, DeviceFilter};
use crate::db::{rollout_device, tag};
use crate::error::Error;
use crate::updates::service::BATCH;
use crate::updates::target::Target;
use api::NewRollout;

/// How many devices are named of those that are left out for a reason.
const EXAMPLES: usize = 5;

/// Who takes part, and who was selected and does not.
#[derive(Debug, Default)]
pub(super) struct Selected {
    pub(super) members: Vec<DeviceId>,
    pub(super) online: u64,
    pub(super) left_out: BTreeMap<&'static str, LeftOut>,
}

impl Selected {
    pub(super) fn count(&self) -> u64 {
        self.members.len() as u64 + self.left_out.values().map(|left_out| left_out.devices).sum::<u64>()
    }

    /// An error if nothing can be said of it now, or it must not be offered to anybody.
    fn note(&mut self, device: DeviceId, decision: &Decision, is_online: bool) -> Result<(), Error> {
        match decision {
            Decision::Offered(_) | Decision::InProgress { .. } | Decision::Offline { .. } => {
                self.online += u64::from(is_online);
                self.members.push(device);
            }
            Decision::StoreUnavailable(cause) => return Err(Error::StoreUnavailable(cause.clone())),
            Decision::Blocked { cause, .. } => return Err(Error::Refused(cause.clone())),
            other => {
                let new = || LeftOut {
                    decision: other.as_str().to_owned(),
                    reason: other.cause().sentence(),
                    devices: 0,
                    examples: Vec::new(),
                };
                let left_out = self.left_out.entry(other.as_str()).or_insert_with(new);
                left_out.devices += 1;
                if left_out.examples.len() < EXAMPLES {
                    left_out.examples.push(device);
                }
            }
        }
        Ok(())
    }
}

/// Where a search goes on.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    after: Option<DeviceId>,
    ids: usize,
}

impl Rollouts {
    /// The product's devices that are asked for.
    pub(super) async fn selected(&self, target: &Target, asked: &NewRollout) -> Result<Selected, Error> {
        let (mut selected, mut cursor) = (Selected::default(), Some(Cursor::default()));
        while let Some(at) = cursor {
            let devices;
            (devices, cursor) = self.page(target, asked, at).await?;
            self.decide(target, &devices, &mut selected).await?;
        }
        Ok(selected)
    }

    /// Those who match by now and are in no rollout that runs.
    pub(super) async fn joined_since(
        &self,
        target: &Target,
        asked: &NewRollout,
        at: Cursor,
    ) -> Result<(Vec<DeviceId>, Option<Cursor>), Error> {
        let (mut devices, next) = self.page(target, asked, at).await?;
        let ids: Vec<DeviceId> = devices.iter().map(|device| device.id.0.clone()).collect();
        let members = rollout_device::of_devices(&self.0.db, target.rollout, &ids).await?;
        let taken = rollout_device::taken(&self.0.db, &ids).await?;
        let known: HashSet<DeviceId> =
            members.into_iter().map(|member| member.device.0).chain(taken).collect();
        devices.retain(|device| !known.contains(&device.id.0));
        let mut selected = Selected::default();
        self.decide(target, &devices, &mut selected).await?;
        Ok((selected.members, next))
    }

    async fn decide(
        &self,
        target: &Target,
        devices: &[DeviceRow],
        selected: &mut Selected,
    ) -> Result<(), Error> {
        let ids: Vec<DeviceId> = devices.iter().map(|device| device.id.0.clone()).collect();
        let presence = self.0.devices.presence();
        let online: HashSet<&DeviceId> =
            devices.iter().filter(|device| presence.is_there(device)).map(|device| &device.id.0).collect();
        for (device, decision) in self.0.updates.assess(&ids, target).await? {
            let is_online = online.contains(&device);
            selected.note(device, &decision, is_online)?;
        }
        Ok(())
    }

    /// Some of the product's devices that are asked for, and where it goes on.
    async fn page(
        &self,
        target: &Target,
        asked: &NewRollout,
        at: Cursor,
    ) -> Result<(Vec<DeviceRow>, Option<Cursor>), Error> {
        let ids = &asked.selector.ids;
        let (mut devices, next) = if ids.is_empty() {
            let filter = DeviceFilter {
                product: Some(&target.product),
                after: at.after.as_ref().map(DeviceId::as_str),
                ..DeviceFilter::default()
            };
            let devices = device_list::page(&self.0.db, &filter, BATCH as u64).await?;
            let after = devices.last().filter(|_| devices.len() == BATCH).map(|last| last.id.0.clone());
            (devices, after.map(|after| Cursor { after: Some(after), ids: 0 }))
        } else {
            let some = &ids[at.ids.min(ids.len())..(at.ids + BATCH).min(ids.len())];
            let mut devices = device::by_ids(&self.0.db, some).await?;
            devices.retain(|device| device.product.as_deref() == Some(&target.product));
            let next = at.ids + BATCH;
            (devices, (next < ids.len()).then_some(Cursor { after: None, ids: next }))
        };
        let versions = terms::versions(asked).map_err(Error::Invalid)?;
        let groups = &asked.selector.groups;
        let is_of_group =
            |device: &DeviceRow| device.group_name.as_ref().is_some_and(|group| groups.contains(group));
        devices
            .retain(|device| is_in(versions.as_ref(), device) && (groups.is_empty() || is_of_group(device)));
        if !asked.selector.tags.is_empty() {
            let all: Vec<DeviceId> = devices.iter().map(|device| device.id.0.clone()).collect();
            let tags = tag::of_devices(&self.0.db, &all).await?.into_iter();
            let tagged = tags.filter(|tag| asked.selector.tags.contains(&tag.tag)).map(|tag| tag.device.0);
            let tagged: HashSet<DeviceId> = tagged.collect();
            devices.retain(|device| tagged.contains(&device.id.0));
        }
        Ok((devices, next))
    }
}

fn is_in(versions: Option<&VersionRange>, device: &DeviceRow) -> bool {
    let runs =
        |range: &VersionRange| device.version.as_deref().is_some_and(|version| range.contains(version));
    versions.is_none_or(runs)
}
