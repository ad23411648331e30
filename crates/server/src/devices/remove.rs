//! Removing devices.

use cause::service as causes;
use contract::DeviceId;

use super::service::Devices;
use crate::error::Error;

impl Devices {
    /// Forgets a device and its history, clears what it left retained, and disconnects it.
    pub async fn remove(&self, id: &DeviceId) -> Result<(), Error> {
        self.row(id).await?;
        // First: if it stayed, the next start would take the device for a new one.
        self.clear_retained(id).await?;
        let write = self.0.db.write().await?;
        write.remove_device(id).await?;
        write.commit().await?;
        if let Some(embedded) = &*self.0.broker.read().await {
            embedded.disconnect_device(id).await;
            // What it published while it was being removed.
            self.clear_retained(id).await?;
        }
        self.0.events.device(id);
        Ok(())
    }

    async fn clear_retained(&self, id: &DeviceId) -> Result<(), Error> {
        self.0
            .publisher
            .clear_retained(id)
            .await
            .map_err(|_| Error::Refused(causes::NOT_REMOVED.naming("device", id)))
    }
}
