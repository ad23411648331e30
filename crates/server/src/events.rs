//! What happened, for those who watch: ids only, so that a watcher that missed some just asks again.

use contract::{DeviceId, ProductName};
use tokio::sync::broadcast;

use api::Event;

/// Maximum number of events that wait for a slow watcher; one that missed some shows everything again.
const CAPACITY: usize = 1024;

/// Where events are sent. Clones are the same.
#[derive(Debug, Clone)]
pub struct Events {
    sender: broadcast::Sender<Event>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self { sender: broadcast::channel(CAPACITY).0 }
    }

    /// What happens from now on. A receiver that lags shows everything again.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.sender.subscribe()
    }

    pub(crate) fn device(&self, device: &DeviceId) {
        self.send(Event::Device { device: device.clone() });
    }

    pub(crate) fn product(&self, product: &ProductName) {
        self.send(Event::Product { product: product.clone() });
    }

    pub(crate) fn rollout(&self, rollout: i64) {
        self.send(Event::Rollout { rollout });
    }

    pub(crate) fn health(&self) {
        self.send(Event::Health);
    }

    fn send(&self, event: Event) {
        // Nobody listening is no error.
        let _ = self.sender.send(event);
    }
}
