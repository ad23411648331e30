//! Figures of the fleet.

use std::collections::HashMap;
use std::time::Instant;

use contract::{DeviceId, ProductName};
use fleet::UpdateState;

use super::list::PAGE_MAX;
use super::service::Devices;
use crate::clock::now_ms;
use crate::db::{device_list, update};
use crate::error::Error;

/// Figures of all devices, or of a product's.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Devices known.
    pub devices: u64,
    /// Of these, online.
    pub online: u64,
    /// Devices by the state of their newest update.
    pub newest: HashMap<UpdateState, u64>,
}

impl Devices {
    /// Figures of the whole fleet, or of one product.
    pub async fn counts(&self, product: Option<&ProductName>) -> Result<Counts, Error> {
        let devices = device_list::count(&self.0.db, product).await?;
        let newest = update::newest_states(&self.0.db, product).await?.into_iter().collect();
        let online = self.count_online(product).await?;
        Ok(Counts { devices, online, newest })
    }

    /// Who is online is not kept by writes, and has to be counted but where it is all connections. That takes the longer
    /// the larger the fleet is, so that a number is used again for as long as keeps counting from mattering.
    async fn count_online(&self, product: Option<&ProductName>) -> Result<u64, Error> {
        if product.is_none() && self.0.presence.heard(true, now_ms()).is_none() {
            return Ok(self.0.presence.connected_count());
        }
        let mut counted = self.0.counted.lock().await;
        if let Some(online) = counted.online(product) {
            return Ok(online);
        }
        let begun = Instant::now();
        let online = match (self.0.presence.heard(true, now_ms()), product) {
            (Some(heard), _) => device_list::count_heard(&self.0.db, product, heard).await?,
            (None, Some(product)) => self.count_connected(product).await?,
            (None, None) => self.0.presence.connected_count(),
        };
        counted.keep(product, online, begun.elapsed());
        Ok(online)
    }

    async fn count_connected(&self, product: &ProductName) -> Result<u64, Error> {
        let (mut online, mut after) = (0, None::<DeviceId>);
        loop {
            let page =
                self.0.presence.connected_after(after.as_ref().map(DeviceId::as_str), PAGE_MAX as usize);
            online += device_list::count_among(&self.0.db, product, &page).await?;
            match page.into_iter().next_back() {
                Some(last) => after = Some(last),
                None => return Ok(online),
            }
        }
    }
}
