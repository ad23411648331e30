//! Binding an address, and the sentence for when it cannot be had.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::net::TcpListener;

/// Whose address it is, and how to choose another.
pub(crate) struct Listener {
    /// "the server", "the MQTT broker".
    pub(crate) who: &'static str,
    /// The configuration's key.
    pub(crate) key: &'static str,
    /// The same as a variable of the environment, with an example.
    pub(crate) variable: &'static str,
}

impl Listener {
    /// Binds. The error names address, cause, key and variable.
    pub(crate) async fn bind(&self, address: SocketAddr) -> anyhow::Result<TcpListener> {
        TcpListener::bind(address).await.map_err(|error| {
            let what = match error.kind() {
                ErrorKind::AddrInUse => "another program listens there already",
                ErrorKind::PermissionDenied => "this user may not listen there",
                ErrorKind::AddrNotAvailable => "this machine has no such address",
                _ => "the system refused",
            };
            anyhow::anyhow!(
                "{} cannot listen on {address}: {what} ({error}); choose another address with the key {} in updraft.toml, \
                 or with {}",
                self.who,
                self.key,
                self.variable
            )
        })
    }
}
