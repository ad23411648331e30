//! Binding an address, and the sentence for when it cannot be had.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::net::TcpListener;

pub(crate) const HTTP: Listener =
    Listener { who: "the server", key: "http.listen", variable: "UPDRAFT_HTTP__LISTEN=127.0.0.1:8081" };
pub(crate) const MQTT: Listener =
    Listener { who: "the MQTT broker", key: "mqtt.listen", variable: "UPDRAFT_MQTT__LISTEN=127.0.0.1:1884" };

/// Whose address it is, and how to choose another.
pub(crate) struct Listener {
    who: &'static str,
    key: &'static str,
    /// The same as a variable of the environment, with an example.
    variable: &'static str,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_the_key_that_changes_it() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("an address");
        let sentence = MQTT.bind(address).await.expect_err("refused").to_string();
        for word in [address.to_string().as_str(), "mqtt.listen", "UPDRAFT_MQTT__LISTEN"] {
            assert!(sentence.contains(word), "{sentence}");
        }
    }
}
