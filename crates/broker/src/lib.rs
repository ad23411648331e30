//! The embedded broker: MQTT 3.1.1 and 5 in this process, for registered devices and the server itself.
//!
//! [`Embedded`], [`Admission`] and [`Credentials`] are all that others see of it, so that another broker library could
//! take its place. The protocol, the routing and the sessions are the crate mqtt5's; who may connect, the names of
//! sessions and every limit are ours. Nothing is written to disk: the broker lives and dies with the process, and
//! what must survive a restart is in the database or comes again from the devices.

mod accept;
mod admission;
mod authoriser;
mod handshake;
mod limits;
mod registry;
mod shared;
mod topics;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use contract::{DeviceId, VersionTopic};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

pub use admission::Admission;
pub use admission::Credentials;
use shared::Shared;

/// The running broker.
pub struct Embedded {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

impl Embedded {
    /// Accepts connections from this listener. `version` is where devices report their version.
    pub fn start(
        listener: TcpListener,
        version: VersionTopic,
        admission: Arc<dyn Admission>,
    ) -> anyhow::Result<Self> {
        let address = listener.local_addr().context("the MQTT listener has no address")?;
        let shared = Arc::new(Shared::new(version, admission)?);
        let tasks = TaskTracker::new();
        tasks.spawn(accept::accept(listener, Arc::clone(&shared), tasks.clone()));
        tasks.spawn(sweep(Arc::clone(&shared)));
        tracing::info!(mqtt.listen = %address, "the embedded MQTT broker is ready");
        Ok(Self { address, shared, tasks })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What the server's own client connects with.
    pub fn credentials(&self) -> Credentials {
        self.shared.credentials.clone()
    }

    /// Closes a device's connections and forgets its sessions and queues. Take its registration away first. Its last
    /// will has been published when this returns (within 2 s), so that what it left retained can be cleared afterwards.
    pub async fn disconnect_device(&self, device: &DeviceId) {
        let sessions = self.shared.registry.remove(device);
        let gone = self.shared.registry.gone(device);
        if tokio::time::timeout(limits::REMOVAL_TIMEOUT, gone).await.is_err() {
            tracing::warn!(device = %device, "a removed device's connection did not end within 2 s");
        }
        for session in sessions {
            self.shared.forget(&session).await;
        }
    }

    /// Stops listening and ends every connection; done within 2 s.
    pub async fn stop(self) {
        self.shared.closing.cancel();
        // An error means that nobody is connected.
        let _ = self.shared.shutdown.send(());
        self.tasks.close();
        if tokio::time::timeout(limits::GRACE, self.tasks.wait()).await.is_err() {
            self.shared.closed.cancel();
            let _ = tokio::time::timeout(Duration::from_millis(400), self.tasks.wait()).await;
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.shared.closing.cancel();
        self.shared.closed.cancel();
    }
}

async fn sweep(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.closing.cancelled() => return,
            () = tokio::time::sleep(limits::SWEEP) => {}
        }
        shared.sweep().await;
    }
}
