//! Registering, changing and removing devices.

use api::{Device, DeviceChange, HOLD, RegisteredDevice};
use cause::service as causes;
use contract::{DeviceId, ProductName, Reason, Version};
use serde_json::{Map, Value, json};

use super::service::{Devices, unknown};
use crate::access::{digest, random_password};
use crate::actor::Actor;
use crate::clock::now_ms;
use crate::db::{Action, tag};
use crate::error::Error;

/// Maximum number of tags of a device, and of bytes of a tag.
const TAGS_MAX: usize = 32;
const TAG_MAX_BYTES: usize = 64;

impl Devices {
    /// Registers a device and answers its MQTT password, which is shown this once. `product` None:
    /// `fleet.default_product`, or the only product there is, else Invalid. Registered already: Refused.
    #[crate::boxed]
    pub async fn register(
        &self,
        by: &Actor,
        id: &DeviceId,
        product: Option<&ProductName>,
    ) -> Result<RegisteredDevice, Error> {
        let product = match product {
            None => self.0.releases.default_product(&self.0.db).await?,
            product => product.cloned(),
        };
        let product = product.ok_or_else(|| Error::Invalid(causes::PRODUCT_UNSAID.cause()))?;
        let password = random_password()?;
        let mut write = self.0.db.write(by).await?;
        // It may be known by its reports already.
        write.insert_devices(vec![id.clone()], now_ms()).await?;
        let device = write.lock_device(id).await?.filter(|device| device.password_sha256.is_none());
        let mut device = device.ok_or_else(|| Error::Refused(causes::DEVICE_EXISTS.naming("device", id)))?;
        device.product = Some(product.clone().into());
        device.product_is_set = true;
        device.password_sha256 = Some(digest(&password));
        write.save_device(&mut device).await?;
        write.audit(Action::DEVICE_REGISTER, id, Value::Null, json!({ "product": product }));
        write.commit().await?;
        self.0.presence.not_admitted().forget(id.as_str());
        self.0.events.device(id);
        Ok(RegisteredDevice {
            id: id.clone(),
            product: Some(product),
            mqtt_username: id.as_str().to_owned(),
            mqtt_password: password,
        })
    }

    /// Changes what is asked of a device: product, tags, group, pin.
    #[crate::boxed]
    pub async fn change(&self, by: &Actor, id: &DeviceId, change: &DeviceChange) -> Result<Device, Error> {
        let tags = change.tags.as_deref().map(checked).transpose()?;
        let group =
            change.group.as_ref().map(|group| group.as_deref().map(group_name).transpose()).transpose()?;
        let pin = change.pin.as_ref().map(|pin| pin.as_deref().map(pinned).transpose()).transpose()?;
        let mut write = self.0.db.write(by).await?;
        let mut device = write.lock_device(id).await?.ok_or_else(|| unknown(id))?;
        let (mut before, mut after) = (Map::new(), Map::new());
        if let Some(product) = &change.product {
            before.insert("product".into(), json!(device.product.as_deref()));
            after.insert("product".into(), json!(product));
            device.product = Some(product.clone().into());
            device.product_is_set = true;
        }
        if let Some(group) = group {
            before.insert("group".into(), json!(device.group_name));
            after.insert("group".into(), json!(group));
            device.group_name = group;
        }
        if let Some(pin) = pin {
            before.insert("pin".into(), json!(device.pin));
            after.insert("pin".into(), json!(pin));
            let why = change.pin_reason.as_deref().map(str::trim).filter(|why| !why.is_empty());
            let why = pin.as_ref().and(why).map(|why| Reason::new(why).to_string());
            // Who says the same again did not choose it.
            if (&device.pin, &device.pin_why) != (&pin, &why) {
                device.pin_by = pin.as_ref().map(|_| by.name.to_string());
                (device.pin, device.pin_why) = (pin, why);
            }
        }
        write.save_device(&mut device).await?;
        if let Some(tags) = tags {
            let known = tag::of_devices(&write, std::slice::from_ref(id)).await?;
            before.insert("tags".into(), known.into_iter().map(|tag| tag.tag).collect());
            after.insert("tags".into(), json!(tags));
            write.set_tags(&device, &tags).await?;
        }
        write.audit(Action::DEVICE_CHANGE, id, before.into(), after.into());
        write.commit().await?;
        self.0.events.device(id);
        self.show(id).await
    }
}

fn is_bad_word(word: &str) -> bool {
    word.is_empty() || word.len() > TAG_MAX_BYTES || word.chars().any(char::is_control)
}

fn group_name(group: &str) -> Result<String, Error> {
    let group = group.trim();
    if is_bad_word(group) {
        return Err(Error::Invalid(causes::GROUP.with("most_bytes", TAG_MAX_BYTES)));
    }
    Ok(group.to_owned())
}

/// A version, as it is spelled here, or the word that keeps a device as it is.
fn pinned(pin: &str) -> Result<String, Error> {
    let pin = pin.trim();
    if pin == HOLD {
        return Ok(pin.to_owned());
    }
    let version = Version::said(pin).filter(|version| !version.is_opaque());
    version.map(|version| version.to_string()).ok_or_else(|| Error::Invalid(causes::PIN.cause()))
}

/// Tags without white space around them, each once.
fn checked(tags: &[String]) -> Result<Vec<String>, Error> {
    let mut checked: Vec<String> = tags.iter().map(|tag| tag.trim().to_owned()).collect();
    checked.sort_unstable();
    checked.dedup();
    if checked.len() > TAGS_MAX || checked.iter().any(|tag| is_bad_word(tag)) {
        return Err(Error::Invalid(causes::TAGS.with("most", TAGS_MAX).with("most_bytes", TAG_MAX_BYTES)));
    }
    Ok(checked)
}

impl Devices {
    /// Forgets a device and its history, clears what it left retained, and disconnects it.
    #[crate::boxed]
    pub async fn remove(&self, by: &Actor, id: &DeviceId) -> Result<(), Error> {
        self.row(id).await?;
        // First: if it stayed, the next start would take the device for a new one.
        self.clear_retained(id).await?;
        let mut write = self.0.db.write(by).await?;
        if let Some(device) = write.lock_device(id).await? {
            let before = json!({
                "product": device.product.as_deref(),
                "version": device.said(),
                "registered": device.password_sha256.is_some(),
            });
            write.audit(Action::DEVICE_REMOVE, id, before, Value::Null);
            write.remove_device(device).await?;
        }
        write.commit().await?;
        if let Some(embedded) = &*self.0.broker.read().await {
            embedded.disconnect_device(id);
            // What it published while it was being removed. It is gone in any case, and so is this with the next start.
            if let Err(error) = self.clear_retained(id).await {
                tracing::warn!(device = %id, "what the removed device left retained is still there: {error}");
            }
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
