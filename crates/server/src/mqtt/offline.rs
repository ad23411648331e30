//! How the receiving connection goes offline when the client is to stop.

use tokio::time::Instant;

/// How far the end of the connection is.
pub(super) enum Offline {
    NotYet,
    /// For the last acknowledgements, until then at most.
    Waiting(Instant),
    /// The broker was asked for an answer behind them.
    Asked(Instant),
    /// DISCONNECT was asked for; the loop ends by itself.
    Requested,
    Gone,
}

impl Offline {
    /// Returns when its time is up.
    pub(super) async fn deadline(&self) {
        match self {
            Self::Waiting(until) | Self::Asked(until) => tokio::time::sleep_until(*until).await,
            _ => std::future::pending().await,
        }
    }
}
