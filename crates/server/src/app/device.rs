//! Devices: registering, changing and removing them.

use contract::{Control, DeviceId, ProductName, TopicKind};

use super::auth::{digest, random_password};
use super::{App, AppError, now_ms};
use crate::db::device::{self, DeviceRow};
use crate::db::update::{self, UpdateRow};
use crate::model::{Device, RegisteredDevice};

/// Tags a device has at most, and bytes a tag.
const TAGS_MAX: usize = 32;
const TAG_MAX_BYTES: usize = 64;

pub(super) fn unknown(id: &DeviceId) -> AppError {
    AppError::NotFound(format!("There is no device {id}."))
}

impl App {
    /// Registers a device and answers its MQTT password, which is shown this once. `product` None:
    /// `fleet.default_product`, or the only product there is, else Invalid. Registered already: Refused.
    pub async fn register_device(
        &self,
        id: &DeviceId,
        product: Option<&ProductName>,
    ) -> Result<RegisteredDevice, AppError> {
        let product = product.cloned().or_else(|| self.usual_product()).ok_or_else(|| {
            AppError::Invalid(
                "Name the device's product: there is no fleet.default_product, and not exactly one product."
                    .to_owned(),
            )
        })?;
        let password = random_password()?;
        let write = self.db().write().await?;
        if !write.register_device(id, &product, &digest(&password), now_ms()).await? {
            return Err(AppError::Refused(format!("There is a device {id} already.")));
        }
        write.commit().await?;
        self.announce().device(id);
        Ok(RegisteredDevice {
            id: id.clone(),
            product: Some(product),
            mqtt_username: id.as_str().to_owned(),
            mqtt_password: password,
        })
    }

    /// Changes a device's product, its tags, or both.
    pub async fn change_device(
        &self,
        id: &DeviceId,
        product: Option<&ProductName>,
        tags: Option<&[String]>,
    ) -> Result<Device, AppError> {
        let tags = tags.map(checked).transpose()?;
        let write = self.db().write().await?;
        if device::by_id(&write, id).await?.is_none() {
            return Err(unknown(id));
        }
        if let Some(product) = product {
            write.set_product(id, product).await?;
        }
        if let Some(tags) = tags {
            write.set_tags(id, &tags).await?;
        }
        write.commit().await?;
        self.announce().device(id);
        self.device(id).await
    }

    /// Forgets a device and its history, clears what it left retained, and disconnects it.
    pub async fn remove_device(&self, id: &DeviceId) -> Result<(), AppError> {
        self.device_row(id).await?;
        // First: if it stayed, the next start would take the device for a new one.
        self.clear_retained(id).await?;
        let write = self.db().write().await?;
        write.remove_device(id).await?;
        write.commit().await?;
        if let Some(embedded) = self.embedded() {
            embedded.disconnect_device(id).await;
            // What it published while it was being removed.
            self.clear_retained(id).await?;
        }
        self.announce().device(id);
        Ok(())
    }

    async fn clear_retained(&self, id: &DeviceId) -> Result<(), AppError> {
        let cleared = match self.mqtt() {
            Some(mqtt) => mqtt.clear_retained(id).await.is_ok(),
            None => false,
        };
        cleared.then_some(()).ok_or_else(|| {
            AppError::Refused(format!(
                "{id} was not removed: the broker does not answer, so what the device left there cannot be cleared."
            ))
        })
    }

    /// Forgets which images failed on a device, here and on the device.
    pub async fn clear_quarantine(&self, id: &DeviceId) -> Result<(), AppError> {
        self.device_row(id).await?;
        let write = self.db().write().await?;
        write.clear_faults(id).await?;
        write.commit().await?;
        self.announce().device(id);
        let told = match self.mqtt() {
            Some(mqtt) => {
                let word = Control::ClearQuarantine.as_str().as_bytes();
                mqtt.publish(TopicKind::Control, id, word, None).await.is_ok()
            }
            None => false,
        };
        told.then_some(()).ok_or_else(|| {
            AppError::Refused(format!(
                "The server's list is cleared, and {id} could not be told, since the broker does not answer: try again."
            ))
        })
    }

    pub(super) async fn device_row(&self, id: &DeviceId) -> Result<DeviceRow, AppError> {
        device::by_id(self.db(), id).await?.ok_or_else(|| unknown(id))
    }

    pub(super) async fn newest_update(&self, device: &DeviceRow) -> Result<Option<UpdateRow>, AppError> {
        match device.update_id {
            Some(id) => Ok(update::by_id(self.db(), id).await?),
            None => Ok(None),
        }
    }
}

/// Tags without white space around them, each once.
fn checked(tags: &[String]) -> Result<Vec<String>, AppError> {
    let mut checked: Vec<String> = tags.iter().map(|tag| tag.trim().to_owned()).collect();
    checked.sort_unstable();
    checked.dedup();
    let bad = |tag: &String| tag.is_empty() || tag.len() > TAG_MAX_BYTES || tag.chars().any(char::is_control);
    if checked.len() > TAGS_MAX || checked.iter().any(bad) {
        return Err(AppError::Invalid(format!(
            "A device has at most {TAGS_MAX} tags, each of 1 to {TAG_MAX_BYTES} bytes."
        )));
    }
    Ok(checked)
}
