//! What `updraft bench` needs and no service does: devices that nobody has to connect for, and what the rest is compared with.

use std::time::Instant;

use bytes::Bytes;
use contract::{DeviceId, ProductName, TopicKind, Version};
use fleet::UpdateState;
use futures_util::future::try_join_all;

use crate::access::digest;
use crate::actor::Actor;
use crate::clock::now_ms;
use crate::db::waiting;
use crate::mqtt::{Handler, LinkState, Message};
use crate::run::Running;

/// Rows in one transaction, and messages on their way at a time: as many as triggers are.
const BATCH: usize = 500;
/// Messages in one batch, as many as the batcher collects, and rows in one transaction beside them.
const MESSAGES: usize = 1000;

impl Running {
    /// Returns once the broker answers.
    #[crate::boxed]
    pub async fn linked(&self) -> anyhow::Result<()> {
        self.mqtt.link().wait_for(|state| *state == LinkState::Up).await?;
        Ok(())
    }

    /// Makes devices known, or changes them: they run this version, and are taken for online or not.
    #[crate::boxed]
    pub async fn fill(
        &self,
        ids: &[DeviceId],
        product: &ProductName,
        version: &Version,
        is_online: bool,
    ) -> anyhow::Result<()> {
        for ids in ids.chunks(BATCH) {
            let write = self.db.write(&Actor::SERVER).await?;
            write.insert_devices(ids.to_vec(), 0).await?;
            let mut devices = write.lock_devices(ids).await?;
            for device in &mut devices {
                device.product = Some(product.clone().into());
                device.version = Some(version.clone().into());
                device.online_epoch = if is_online { self.db.epoch() } else { 0 };
            }
            write.save(devices.iter_mut().map(|device| (device, None))).await?;
            write.commit().await?;
        }
        Ok(())
    }

    /// Makes devices known as a large fleet has them: 1 in 100 is offline, another 1 in 100 runs 1.0.0, 1 in 1,000 has failed,
    /// 1 in 10 has the tag `lab`; 100 that have not failed have `few`.
    #[crate::boxed]
    pub async fn fill_varied(&self, ids: &[DeviceId]) -> anyhow::Result<()> {
        let product: ProductName = "bench".parse()?;
        let versions: [Version; 2] = ["1.0.0".parse()?, "1.1.0".parse()?];
        let few_every = (ids.len() / 100).max(2);
        for (batch, ids) in ids.chunks(BATCH).enumerate() {
            let write = self.db.write(&Actor::SERVER).await?;
            write.insert_devices(ids.to_vec(), 0).await?;
            let mut devices = write.lock_devices(ids).await?;
            for (place, device) in devices.iter_mut().enumerate() {
                let number = batch * BATCH + place;
                let is_failed = number.is_multiple_of(1000);
                device.product = Some(product.clone().into());
                device.version = Some(versions[usize::from(number % 100 != 1)].clone().into());
                device.update_state =
                    Some(if is_failed { UpdateState::Failed } else { UpdateState::Succeeded }.into());
                device.online_epoch = if number % 100 == 2 { 0 } else { self.db.epoch() };
                let mut tags = Vec::new();
                tags.extend(number.is_multiple_of(10).then(|| "lab".to_owned()));
                tags.extend((number % few_every == 1).then(|| "few".to_owned()));
                if !tags.is_empty() {
                    write.set_tags(device, &tags).await?;
                }
            }
            write.save(devices.iter_mut().map(|device| (device, None))).await?;
            write.commit().await?;
        }
        Ok(())
    }

    /// How many of these devices' triggers are still to be sent.
    #[crate::boxed]
    pub async fn waiting(&self, ids: &[DeviceId]) -> anyhow::Result<usize> {
        Ok(waiting::updates_of(&self.db, ids).await?.len())
    }

    /// Inserts bare rows.
    #[crate::boxed]
    pub async fn insert_bare(&self, ids: &[DeviceId]) -> anyhow::Result<()> {
        for ids in ids.chunks(BATCH) {
            let write = self.db.write(&Actor::SERVER).await?;
            write.insert_devices(ids.to_vec(), 0).await?;
            write.commit().await?;
        }
        Ok(())
    }

    /// Publishes a message for each device, as long as a trigger, and waits until the broker has acknowledged them.
    #[crate::boxed]
    pub async fn publish_bare(&self, ids: &[DeviceId]) -> anyhow::Result<()> {
        for ids in ids.chunks(BATCH) {
            let publish = |id| self.mqtt.publisher().publish(TopicKind::Trigger, id, &[b'x'; 200], None);
            try_join_all(ids.iter().map(publish)).await?;
        }
        Ok(())
    }
}

impl Running {
    /// Handles what these devices say of an update that succeeds, one message of each after the other, in the batcher's batches.
    /// Answers how many messages that were.
    #[crate::boxed]
    pub async fn handle_reports(
        &self,
        ids: &[DeviceId],
        from: &Version,
        to: &Version,
    ) -> anyhow::Result<u32> {
        let report = |version, slot| {
            format!(r#"{{"version":"{version}","slot":"{slot}","state":"valid","slot_bytes":1900544}}"#)
        };
        let said = [
            (TopicKind::Version, report(from, "ota_0")),
            (TopicKind::Progress, r#"{"phase":"download","done":32768,"total":65536}"#.to_owned()),
            (TopicKind::Progress, r#"{"phase":"restart","done":65536,"total":65536}"#.to_owned()),
            (TopicKind::Version, report(to, "ota_1")),
            (TopicKind::Status, "SUCCESS".to_owned()),
        ];
        let mut handled = 0;
        for (kind, payload) in said {
            let payload = Bytes::from(payload);
            for ids in ids.chunks(MESSAGES) {
                let message = |id: &DeviceId| Message {
                    kind,
                    device: id.clone(),
                    payload: payload.clone(),
                    retained: false,
                    received: Instant::now(),
                };
                let batch: Vec<Message> = ids.iter().map(message).collect();
                self.services().messages.messages(&batch).await?;
                handled += u32::try_from(batch.len())?;
            }
        }
        Ok(handled)
    }

    /// Writes a new digest and time of each of these devices, 1,000 a transaction.
    #[crate::boxed]
    pub async fn write_rows(&self, ids: &[DeviceId], round: u32, how: Rows) -> anyhow::Result<()> {
        let (digest, now) = (digest(round.to_le_bytes()), now_ms() + i64::from(round));
        for ids in ids.chunks(MESSAGES) {
            let write = self.db.write(&Actor::SERVER).await?;
            match how {
                Rows::OfTheirOwn => write.upsert_bare(ids, &digest, now).await?,
                Rows::Plain => write.update_bare(ids, &digest, now).await?,
                Rows::Mapped => {
                    let mut devices = write.lock_devices(ids).await?;
                    for device in &mut devices {
                        (device.report_digest, device.last_seen) = (Some(digest.clone()), Some(now));
                    }
                    write.save(devices.iter_mut().map(|device| (device, None))).await?;
                }
            }
            write.commit().await?;
        }
        Ok(())
    }
}

/// How devices are written.
#[derive(Debug, Clone, Copy)]
pub enum Rows {
    /// As rows of another table, which has no more columns than that, by plain statements.
    OfTheirOwn,
    /// By the statements that the row mapping makes, without it.
    Plain,
    /// As everywhere.
    Mapped,
}
