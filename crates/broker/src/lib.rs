//! The embedded broker: MQTT 3.1.1 and 5 in this process, for registered devices and the server itself.
//!
//! [`Embedded`], [`Admission`] and [`Credentials`] are all that others see of it. The bytes of MQTT are the crate
//! rmqtt-codec's; sessions, routing and limits are ours. Nothing is written to disk: the broker lives and dies with the
//! process, and what must survive a restart is in the database or comes again from the devices.

mod accept;
mod admission;
mod answer;
mod connection;
mod foreign;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod handshake;
mod limits;
mod member;
mod message;
mod packet;
mod repeats;
mod session;
mod shared;
mod state;
mod topics;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use contract::{DeviceId, VersionTopic};
use listen::{Connections, Limits};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use admission::{Admission, Credentials, Unavailable};
pub use foreign::NotAdmitted;
#[cfg(any(test, fuzzing))]
pub use fuzz::fuzz;
use shared::Shared;

/// The running broker.
pub struct Embedded {
    address: SocketAddr,
    connections: Connections,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    /// Cancelled when what accepts connections, or what sweeps, has ended, however it did.
    ended: CancellationToken,
}

impl Embedded {
    /// Accepts connections from this listener, as many as `limits` has. `version` is where devices report their version.
    pub fn start(
        listener: TcpListener,
        limits: Limits,
        version: VersionTopic,
        admission: Arc<dyn Admission>,
    ) -> anyhow::Result<Self> {
        let address = listener.local_addr().context("the MQTT listener has no address")?;
        let shared = Arc::new(Shared::new(version, admission)?);
        let tasks = TaskTracker::new();
        // A whole site may sit behind one address, and each of its devices has a password.
        let connections = Connections::new("mqtt", limits, |_| true);
        let ended = CancellationToken::new();
        let (accepting, sweeping) = (ended.clone().drop_guard(), ended.clone().drop_guard());
        let accepted = accept::accept(listener, connections.clone(), Arc::clone(&shared), tasks.clone());
        let swept = sweep(Arc::clone(&shared));
        tasks.spawn(async move {
            let _accepting = accepting;
            accepted.await;
        });
        tasks.spawn(async move {
            let _sweeping = sweeping;
            swept.await;
        });
        tracing::info!(mqtt.listen = %address, "the embedded MQTT broker is ready");
        Ok(Self { address, connections, shared, tasks, ended })
    }

    /// Returns once it accepts connections no more: it was stopped, or has failed.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        self.ended.clone().cancelled_owned()
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// How many connections there are.
    pub fn connections(&self) -> Connections {
        self.connections.clone()
    }

    /// What the server's own client connects with.
    pub fn credentials(&self) -> Credentials {
        self.shared.credentials.clone()
    }

    /// Closes a device's connections and forgets its sessions and queues. Take its registration away first. Its last
    /// will has been published when this returns, so that what it left retained can be cleared afterwards.
    pub fn disconnect_device(&self, device: &DeviceId) {
        self.shared.state().remove(device);
    }

    /// Lets devices publish nothing more, and waits until the server has handled what they did, 1 s at most.
    pub async fn drain(&self) {
        self.shared.state().drain();
        let deadline = tokio::time::Instant::now() + limits::DRAIN;
        while !self.shared.state().is_done() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops listening and ends every connection; done within 2 s.
    pub async fn stop(self) {
        self.close();
        // At most a connection whose password is being checked is left.
        let _ = tokio::time::timeout(limits::GRACE, self.tasks.wait()).await;
    }

    fn close(&self) {
        self.shared.closing.cancel();
        self.shared.state().stop();
        self.tasks.close();
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.close();
    }
}

async fn sweep(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.closing.cancelled() => return,
            () = tokio::time::sleep(limits::SWEEP) => shared.state().sweep(),
        }
    }
}
