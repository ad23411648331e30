//! Moving to another broker or network, and back again if that does not work.
//!
//! Owned here: which settings count, which ones are kept beside them, and how long new ones are tried. What the settings
//! are is the port's business: these are its bytes, and since they hold passwords nothing here prints them. Refused: a
//! move that cannot be undone. Each transition changes one record, so it is whole or did not happen.
//!
//! kept → [`Connections::begin_move`] → on trial → [`Connections::confirmed`] or [`Connections::returned`] → kept.
//! A trial that is cut goes on at the next boot ([`Connections::booted`]), a bounded number of times.

use core::fmt;

use heapless::Vec;

use crate::bytes::{part, put, word};

/// At most so many bytes are one connection's settings.
pub const CONNECTION_MAX_BYTES: usize = 256;
/// New settings are tried in at most so many boots, the one that began the move included; then the previous ones count again.
pub const TRIAL_BOOTS: u8 = 3;
/// What [`Connections::write`] fills: the boots left, two lengths, twice the bytes.
pub(crate) const CONNECTIONS_BYTES: usize = PREVIOUS_AT + 2 + CONNECTION_MAX_BYTES;
const CURRENT_AT: usize = 1;
const PREVIOUS_AT: usize = CURRENT_AT + 2 + CONNECTION_MAX_BYTES;

/// Everything needed to reach a broker (network, address, credentials), in the port's own encoding; 1 to
/// [`CONNECTION_MAX_BYTES`] bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Connection(Vec<u8, CONNECTION_MAX_BYTES>);

/// No settings: empty, or longer than [`CONNECTION_MAX_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidConnection;

impl fmt::Display for InvalidConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection settings have 1 to {CONNECTION_MAX_BYTES} bytes")
    }
}

impl core::error::Error for InvalidConnection {}

impl Connection {
    /// Takes the port's bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, InvalidConnection> {
        match Vec::from_slice(bytes) {
            Ok(taken) if !taken.is_empty() => Ok(Self(taken)),
            _ => Err(InvalidConnection),
        }
    }

    /// The port's bytes. They hold passwords: not to be logged.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({} bytes)", self.0.len())
    }
}

/// What a transition asks of whoever called it.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing changed.
    Nothing,
    /// The record must be stored; the connection stays as it is.
    Store,
    /// The record must be stored, and when that is done [`Connections::current`] be connected with. If it could not be
    /// stored, nothing may be connected with that was not before: a restart would not know the way back.
    Reconnect,
}

/// The settings that count, and the way back. The default is a device that never moved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connections {
    current: Option<Connection>,
    previous: Option<Connection>,
    /// In how many more boots the new settings may be tried, this one included; 0: they are not on trial.
    boots: u8,
}

impl Connections {
    /// What to connect with; `None`: the settings that the port itself came with.
    pub fn current(&self) -> Option<&Connection> {
        self.current.as_ref()
    }

    /// What counts again if the trial fails; `None`: the settings that the port itself came with. Of no meaning unless
    /// a trial is on.
    pub fn previous(&self) -> Option<&Connection> {
        self.previous.as_ref()
    }

    /// Whether [`Self::current`] has still to prove that it reaches a broker. Each boot in which it has needs a time
    /// limit, after which [`Self::returned`] is due.
    pub fn is_on_trial(&self) -> bool {
        self.boots > 0
    }

    /// Puts new settings on trial. During a trial they take its place, and the way back stays the one to settings that
    /// worked. The settings that count already start no trial and prolong none, so a command that comes twice does no
    /// harm; those that lie on the way back end the trial.
    pub fn begin_move(&mut self, new: Connection) -> Change {
        if self.current.as_ref() == Some(&new) {
            return Change::Nothing;
        }
        if self.is_on_trial() && self.previous.as_ref() == Some(&new) {
            return self.returned();
        }
        if !self.is_on_trial() {
            self.previous = self.current.take();
        }
        self.current = Some(new);
        self.boots = TRIAL_BOOTS;
        Change::Reconnect
    }

    /// Counts a boot, before anything is connected with; the first one after a move is the second in which the new
    /// settings are tried. When the last is used up the previous settings count again.
    ///
    /// Cut before the record is stored: this boot is not counted, and nothing was connected with in it either.
    pub fn booted(&mut self) -> Change {
        match self.boots {
            0 => Change::Nothing,
            1 => self.returned(),
            _ => {
                self.boots -= 1;
                Change::Store
            }
        }
    }

    /// The broker was reached with [`Self::current`]: the previous settings, with their passwords, are forgotten.
    pub fn confirmed(&mut self) -> Change {
        if !self.is_on_trial() {
            return Change::Nothing;
        }
        self.boots = 0;
        self.previous = None;
        Change::Store
    }

    /// The time is up: the previous settings count again, and those that failed are forgotten.
    pub fn returned(&mut self) -> Change {
        if !self.is_on_trial() {
            return Change::Nothing;
        }
        self.boots = 0;
        self.current = self.previous.take();
        Change::Reconnect
    }

    pub(crate) fn write(&self, bytes: &mut [u8; CONNECTIONS_BYTES]) {
        bytes.fill(0);
        bytes[0] = self.boots;
        for (connection, at) in [(&self.current, CURRENT_AT), (&self.previous, PREVIOUS_AT)] {
            let Some(connection) = connection else { continue };
            put(bytes, at, &(connection.0.len() as u16).to_le_bytes());
            put(bytes, at + 2, &connection.0);
        }
    }

    /// Reads in place of the default; `None`, and anything at all in it, for whatever [`Self::write`] does not write.
    #[inline(never)]
    pub(crate) fn read(&mut self, bytes: &[u8; CONNECTIONS_BYTES]) -> Option<()> {
        self.boots = bytes[0];
        for (connection, at) in [(&mut self.current, CURRENT_AT), (&mut self.previous, PREVIOUS_AT)] {
            let length = word(bytes, at) as u16;
            if length > 0 {
                // One that is too long does not fit, and one that reaches beyond the end is empty.
                let found = part(bytes, at + 2, length.into());
                let place = connection.insert(Connection(Vec::new()));
                place.0.extend_from_slice(found).ok().filter(|()| !found.is_empty())?;
            }
        }
        (self.boots <= TRIAL_BOOTS).then_some(())
    }
}

#[cfg(test)]
mod tests;
