//! What happened, for those who watch: ids only, so that a watcher that missed some just asks again.

use contract::{DeviceId, ProductName};
use tokio::sync::broadcast;

use crate::model::Event;

/// So many may wait for a slow watcher; it is told that it missed some, and shows everything anew.
const CAPACITY: usize = 1024;

/// Where events are told.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    sender: broadcast::Sender<Event>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self { sender: broadcast::channel(CAPACITY).0 }
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.sender.subscribe()
    }

    pub(crate) fn device(&self, device: &DeviceId) {
        self.tell(Event::Device { device: device.clone() });
    }

    pub(crate) fn product(&self, product: &ProductName) {
        self.tell(Event::Product { product: product.clone() });
    }

    pub(crate) fn health(&self) {
        self.tell(Event::Health);
    }

    fn tell(&self, event: Event) {
        // Nobody listening is no error.
        let _ = self.sender.send(event);
    }
}
