//! Forgetting which images failed on a device.

use cause::service as causes;
use contract::{Control, DeviceId, TopicKind};

use super::service::Updates;
use crate::error::Error;

impl Updates {
    /// Forgets which images failed on a device, here and on the device.
    pub async fn clear_quarantine(&self, id: &DeviceId) -> Result<(), Error> {
        self.0.devices.row(id).await?;
        let write = self.0.db.write().await?;
        write.clear_faults(id).await?;
        write.commit().await?;
        self.0.events.device(id);
        let word = Control::ClearQuarantine.as_str().as_bytes();
        self.0
            .publisher
            .publish(TopicKind::Control, id, word, None)
            .await
            .map_err(|_| Error::Refused(causes::QUARANTINE_NOT_SENT.naming("device", id)))
    }
}
