//! The client, in two steps: first it publishes, then somebody takes what it receives.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use super::delivery::Delivery;
use super::message::Handler;
use super::options::{Link, LinkState, MqttOptions, link};
use super::publisher::Publisher;
use super::receiver;
use super::shared::Shared;
use crate::tasks::Tasks;

/// A client that publishes and does not receive yet.
pub struct Connection {
    options: MqttOptions,
    publisher: Publisher,
    state: watch::Sender<LinkState>,
    link: Link,
    delivery: Delivery,
    tasks: Tasks,
}

impl Connection {
    /// Connects for publishing, and keeps connecting for ever. Fails only if the address is unusable. Call it within a
    /// runtime.
    pub fn open(options: MqttOptions, tasks: Tasks) -> anyhow::Result<Self> {
        let publisher = Publisher::start(&options, &tasks)?;
        let (state, link) = link();
        Ok(Self { options, publisher, state, link, delivery: Delivery::default(), tasks })
    }

    /// Publishes, and may be cloned.
    pub fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// How the receiving connection is, and every change of it.
    pub fn link(&self) -> Link {
        self.link.clone()
    }

    /// What the broker does not deliver.
    pub fn delivery(&self) -> Delivery {
        self.delivery.clone()
    }

    /// Disconnects: from now on nothing is published.
    #[cfg(test)]
    pub(crate) async fn close(self) {
        self.tasks.stop();
        self.tasks.ended().await;
    }

    /// Connects for receiving too: `handler` takes what devices send.
    pub fn receive(self, handler: Arc<dyn Handler>) -> anyhow::Result<Mqtt> {
        let Self { options, publisher, state, link, delivery, tasks } = self;
        let shared = receiver::start(&options, handler, publisher.clone(), state, delivery, &tasks)?;
        Ok(Mqtt { publisher, shared, link, tasks })
    }
}

/// The running client; it lives until [`Mqtt::stop`].
pub struct Mqtt {
    publisher: Publisher,
    shared: Arc<Shared>,
    link: Link,
    tasks: Tasks,
}

impl Mqtt {
    /// Publishes, and may be cloned.
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// How the receiving connection is, and every change of it.
    pub fn link(&self) -> Link {
        self.link.clone()
    }

    /// What the broker does not deliver.
    pub fn delivery(&self) -> &Delivery {
        &self.shared.delivery
    }

    /// How many messages were ignored: not of the contract, or more at QoS 0 than could be handled.
    pub fn ignored(&self) -> u64 {
        self.shared.ignored.load(Ordering::Relaxed)
    }

    /// Disconnects, within 2 s; a batch in the handler's hands is finished first if it can be. An external broker goes on
    /// keeping messages.
    #[crate::boxed]
    pub async fn stop(&self) {
        self.tasks.stop();
        let timeout = Duration::from_millis(1500);
        if tokio::time::timeout(timeout, self.tasks.ended()).await.is_err() {
            tracing::warn!("the MQTT client did not end within 1.5 s");
        }
        // The loops are gone, and with them the sockets.
        let _ = self.shared.client.try_disconnect_now();
    }
}
