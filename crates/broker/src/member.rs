//! A connection as the others see it: what it wants to be, what it is, how it ends.

use std::sync::Arc;
use std::time::Duration;

use crate::message::{Flow, Message, Signal};
use crate::session::SessionName;
use crate::topics::Identity;

/// What a connection whose password was right wants to be.
pub(crate) struct Wish {
    pub(crate) identity: Identity,
    pub(crate) name: SessionName,
    /// The session's life behind the connection; zero: it ends with it.
    pub(crate) lasting: Duration,
    /// Whether it starts without what an earlier connection left.
    pub(crate) clean: bool,
    pub(crate) will: Option<Box<Message>>,
    /// Unacknowledged messages that the client takes.
    pub(crate) window: u16,
}

/// One registered connection.
pub(crate) struct Member {
    pub(crate) identity: Identity,
    pub(crate) name: SessionName,
    pub(crate) number: u64,
    pub(crate) signal: Arc<Signal>,
    /// Shared by all connections of a device.
    pub(crate) flow: Arc<Flow>,
}

/// Why a connection was not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotRegistered {
    /// A removal came between the admission and the registration; ask again.
    Stale,
    /// There are as many connections with a token as there may be.
    TooMany,
    /// The broker is being stopped.
    Stopped,
}

/// The connection was closed from outside: [`Signal::closed`] says why.
#[derive(Debug)]
pub(crate) struct Gone;

/// What is left of a connection that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leave {
    pub(crate) with_will: bool,
    /// Another life of the session than it had.
    pub(crate) lasting: Option<Duration>,
}

impl Leave {
    /// As after a power cut.
    pub(crate) const LOST: Self = Self { with_will: true, lasting: None };
}
