//! The rows of those whose messages are in a batch: read before it, written after it.

use std::collections::{HashMap, HashSet};

use contract::DeviceId;

use super::apply::Subject;
use crate::db::device::{self, DeviceRow};
use crate::db::{Write, update};
use crate::mqtt::Message;

/// What the database knows of those who sent them.
pub(super) async fn load(write: &Write, batch: &[Message]) -> anyhow::Result<HashMap<DeviceId, Subject>> {
    let ids: HashSet<&DeviceId> = batch.iter().map(|message| &message.device).collect();
    let ids: Vec<DeviceId> = ids.into_iter().cloned().collect();
    let devices = device::by_ids(write, &ids).await?;
    let update_ids: Vec<i64> = devices.iter().filter_map(|device| device.update_id).collect();
    let updates = update::by_ids(write, &update_ids).await?;
    let mut updates: HashMap<i64, _> = updates.into_iter().map(|update| (update.id, update)).collect();
    Ok(devices
        .into_iter()
        .map(|device| {
            let mut subject = Subject::new(device);
            subject.update = subject.device.update_id.and_then(|id| updates.remove(&id));
            (subject.device.id.clone(), subject)
        })
        .collect())
}

pub(super) async fn save(write: &Write, subjects: &HashMap<DeviceId, Subject>) -> anyhow::Result<()> {
    let changed: Vec<&DeviceRow> =
        subjects.values().filter(|subject| subject.device_changed).map(|subject| &subject.device).collect();
    write.save_devices(&changed).await?;
    for subject in subjects.values().filter(|subject| subject.update_changed) {
        if let Some(update) = &subject.update {
            write.save_update(update).await?;
        }
    }
    Ok(())
}
