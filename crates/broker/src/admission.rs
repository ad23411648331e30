//! What the broker asks of whoever runs it, and what the server's own client connects with.

use std::net::IpAddr;

use anyhow::Context;
use contract::DeviceId;

use crate::foreign::NotAdmitted;

/// Who may connect cannot be decided now; whoever says so has logged why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

/// Decides who may connect, and is told who is connected.
#[async_trait::async_trait]
pub trait Admission: Send + Sync {
    /// Whether this is a registered device (the user name is its id) and its password.
    async fn admit(&self, user: &str, password: &[u8]) -> Result<bool, Unavailable>;
    /// Whether this is an API token whose holder may see every device. Asked again while it is connected.
    async fn admit_reader(&self, token: &[u8]) -> Result<bool, Unavailable>;
    /// A connection was not let in. `who`: its user name, else its client id, else nothing; both may be anything.
    fn not_admitted(&self, _peer: IpAddr, _who: &str, _why: NotAdmitted) {}
    /// The device's first connection exists, or a new one took over from one that was thought alive: it has to subscribe
    /// again. Called in order, under the broker's lock: neither block nor call the broker.
    fn connected(&self, device: DeviceId);
    /// `true`: one of the device's connections has begun to listen to its triggers. `false`: none of them does, which is said again and
    /// again. Behind [`Admission::connected`] none does until it is said. The same rule as for that.
    fn listens(&self, _device: &DeviceId, _listens: bool) {}
    /// The device's last connection ended. The same rule as for [`Admission::connected`].
    fn disconnected(&self, device: DeviceId);
}

/// The server's own name and password on its embedded broker: random, new with every start, never stored.
#[derive(Clone)]
pub struct Credentials {
    /// Never a device id, since it begins with '~'.
    pub user: String,
    /// 256 random bits.
    pub password: String,
}

impl Credentials {
    pub(crate) fn random() -> anyhow::Result<Self> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).context("no random numbers for the broker's own password")?;
        Ok(Self { user: "~server".to_owned(), password: hex::encode(secret) })
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}
