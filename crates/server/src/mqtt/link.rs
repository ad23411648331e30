//! How the connection to the broker is, and every change of it.

use chrono::{DateTime, Utc};
use tokio::sync::watch;

/// How the connection to the broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// Not connected.
    Down {
        /// Since when.
        since: DateTime<Utc>,
        /// Why, in words; never with a password.
        reason: String,
    },
    /// Connected; what the broker kept for us is being handled.
    CatchingUp,
    /// Everything sent before we connected has been handled.
    Up,
}

/// The state of the connection, to be looked at and waited for.
pub type Link = watch::Receiver<LinkState>;

/// Where changes of it are written; not connected at first.
pub(super) fn channel() -> (watch::Sender<LinkState>, Link) {
    watch::channel(LinkState::Down { since: Utc::now(), reason: "not connected yet".to_owned() })
}
