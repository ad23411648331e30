//! What somebody who watches a device sees.

use std::fmt;

use contract::{Deferred, DeviceId, Outcome, Progress, Reason, Version};
use tokio::sync::mpsc;

/// What an observer sees a device do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// An image starts.
    Booted {
        /// `ota_0`, `ota_1`.
        slot: String,
        /// As far as known.
        version: Option<Version>,
        /// Not confirmed yet.
        on_trial: bool,
    },
    /// The image crashed.
    Crashed,
    /// No slot holds an image that boots.
    NoBootableApp,
    /// The broker was reached.
    Connected,
    /// The broker was lost, or not reached; in words.
    Disconnected(String),
    /// A trigger came, for this version if its URL says so.
    Triggered(Option<Version>),
    /// How far it is.
    Progress(Progress),
    /// It put an update off.
    Deferred(Deferred),
    /// The URL expired, a fresh one was asked for.
    UrlExpired,
    /// An attempt ended.
    Ended(Outcome, Reason),
    /// It connects anew, to the broker at this address.
    Moving(String),
    /// It restarts.
    Restarting,
    /// The power was cut.
    PowerCut,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Booted { slot, version, on_trial } => {
                let version = version.as_ref().map_or("an unknown version", Version::as_str);
                write!(f, "boots {version} from {slot}{}", if *on_trial { ", on trial" } else { "" })
            }
            Self::Crashed => f.write_str("the image crashed"),
            Self::NoBootableApp => f.write_str("no slot holds an image that boots; it must be flashed again"),
            Self::Connected => f.write_str("connected"),
            Self::Disconnected(why) => write!(f, "not connected: {why}"),
            Self::Triggered(Some(version)) => write!(f, "is triggered to update to {version}"),
            Self::Triggered(None) => f.write_str("is triggered to update"),
            Self::Progress(Progress { phase, done: 0, total }) if *total > 0 => {
                write!(f, "begins to {} {total} bytes", phase.as_str())
            }
            Self::Progress(Progress { phase, done, total: 0 }) => {
                write!(f, "{}: {done} bytes", phase.as_str())
            }
            Self::Progress(Progress { phase, done, total }) => {
                write!(f, "{}: {done} of {total} bytes", phase.as_str())
            }
            Self::Deferred(deferred) => write!(f, "{deferred}"),
            Self::UrlExpired => f.write_str("asks for a fresh URL"),
            Self::Ended(outcome, reason) if reason.as_str().is_empty() => f.write_str(outcome.as_str()),
            Self::Ended(outcome, reason) => write!(f, "{} {reason}", outcome.as_str()),
            Self::Moving(address) => write!(f, "connects to {address}"),
            Self::Restarting => f.write_str("restarts"),
            Self::PowerCut => f.write_str("the power was cut"),
        }
    }
}

/// Where notices go, if anywhere.
#[derive(Debug, Clone, Default)]
pub struct Observer(Option<mpsc::UnboundedSender<(DeviceId, Notice)>>);

impl Observer {
    /// An observer and what it sees.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<(DeviceId, Notice)>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(Some(sender)), receiver)
    }

    pub(crate) fn tell(&self, id: &DeviceId, notice: Notice) {
        if let Some(sender) = &self.0 {
            // The receiver may be gone.
            let _ = sender.send((id.clone(), notice));
        }
    }
}
