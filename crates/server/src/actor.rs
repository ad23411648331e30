//! Who writes: each transaction that writes names its actor.

use std::borrow::Cow;
use std::net::IpAddr;

/// What kind of actor it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActorKind {
    /// Somebody with a password or a login link.
    Person,
    /// A program with an API token.
    Token,
    /// A job of a CI system, with the token of a trusted publisher.
    Job,
    /// A device, by its messages.
    Device,
    /// Updraft itself, or who has its configuration.
    System,
}

impl ActorKind {
    /// The word in the table and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Token => "token",
            Self::Job => "job",
            Self::Device => "device",
            Self::System => "system",
        }
    }
}

/// Who writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Person, token, job, device or system.
    pub kind: ActorKind,
    /// Of the user, the token or the job; no device's, since they write many at a time.
    pub name: Cow<'static, str>,
    /// Where the request came from, past the trusted proxies.
    pub address: Option<IpAddr>,
}

impl Actor {
    /// Who has the configuration, and with it the database.
    pub const COMMAND_LINE: Self = Self::nowhere(ActorKind::System, "command line");
    /// The server by itself.
    pub const SERVER: Self = Self::nowhere(ActorKind::System, "server");
    /// Devices, by their messages.
    pub const DEVICES: Self = Self::nowhere(ActorKind::Device, "");

    const fn nowhere(kind: ActorKind, name: &'static str) -> Self {
        Self { kind, name: Cow::Borrowed(name), address: None }
    }
}
