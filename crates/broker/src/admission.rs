//! What the broker asks of whoever runs it.

use contract::DeviceId;

/// Decides who may connect, and is told who is connected.
#[async_trait::async_trait]
pub trait Admission: Send + Sync {
    /// Whether this is a registered device (the user name is its id) and its password.
    async fn admit(&self, user: &str, password: &[u8]) -> bool;
    /// The device's first connection exists. Called in order, under a lock: neither block nor call the broker.
    fn connected(&self, device: DeviceId);
    /// The device's last connection ended. The same rule as for [`Admission::connected`].
    fn disconnected(&self, device: DeviceId);
}
