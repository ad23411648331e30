//! The limits of connections, packets, sessions and queues.

use std::time::Duration;

/// The longest packet that is read, and the longest sent to a device.
pub(crate) const MAX_PACKET_BYTES: u32 = 16 * 1024;
/// The longest payload that is retained, a last will, or copied to API tokens; the longest report of the contract fits.
pub(crate) const MAX_KEPT_BYTES: usize = 4 * 1024;
/// The longest keep-alive granted, and what "no keep-alive" becomes: else a device that vanished would be
/// online for ever.
pub(crate) const MAX_KEEP_ALIVE_S: u16 = 1200;
/// How long the first packet may take.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// At most this many passwords are checked at a time: each may cost a hash and a query.
pub(crate) const MAX_ADMISSIONS: usize = 8;
/// A wrong password is answered this late, so that a client that tries again at once is slow.
pub(crate) const REFUSAL_DELAY: Duration = Duration::from_millis(500);
/// At most this many live connections of one device; one more closes the oldest, so that a device which lost its old
/// connections to a dead network is never locked out.
pub(crate) const MAX_CONNECTIONS: usize = 8;
/// At most this many connections with an API token: each message of a device is copied to all of them.
pub(crate) const MAX_READERS: usize = 32;
/// How often the token of such a connection is looked at again.
pub(crate) const TOKEN_CHECK: Duration = Duration::from_secs(15);
/// At most this many sessions of one device that outlive their connections; one more forgets the oldest.
pub(crate) const MAX_SESSIONS: usize = 16;
/// At most this long a session outlives its connection.
pub(crate) const SESSION_EXPIRY: Duration = Duration::from_hours(24);
/// At most this many filters of a session, and of one packet.
pub(crate) const MAX_SUBSCRIPTIONS: usize = 16;
/// Messages of QoS 2 that a client has sent and not released; messages it may send without an acknowledgement.
pub(crate) const RECEIVE_MAXIMUM: u16 = 64;
/// At most this many messages of one device, over all of its connections, that the server has not acknowledged; until half
/// of them are, it publishes nothing more. So the flood of one device delays another's message by no more than these.
/// A last will is not held back; at twice as many the server does not hear it.
pub(crate) const MAX_UNHANDLED: usize = 256;
/// At most this many acknowledged messages of a device are known again when it repeats them, and for so long once it is away: a
/// client repeats what it saw no acknowledgement of as soon as it is connected again.
pub(crate) const MAX_REPEATED: usize = 32;
pub(crate) const REPEATED_FOR: Duration = Duration::from_mins(10);
/// Bytes read at a time, and about as many written.
pub(crate) const READ_BYTES: usize = 4 * 1024;
/// Bytes on their way to a client, above which nothing more is read from it.
pub(crate) const WRITE_BYTES: usize = 16 * 1024;
/// How often expired sessions are swept.
pub(crate) const SWEEP: Duration = Duration::from_mins(1);
/// How long the server gets to handle what was acknowledged before it stops.
pub(crate) const DRAIN: Duration = Duration::from_secs(1);
/// How long connections get to end when the broker stops.
pub(crate) const GRACE: Duration = Duration::from_millis(1500);

/// What waits for one session, and what may be on its way to it unacknowledged.
pub(crate) struct Bounds {
    /// Messages queued; the oldest are dropped.
    pub(crate) messages: usize,
    /// Bytes of their payloads.
    pub(crate) bytes: usize,
    /// Unacknowledged messages, whatever more the client offers.
    pub(crate) window: u16,
    /// Nothing is dropped: once it is full nothing more is published by any device, until half of it is gone.
    pub(crate) waits: bool,
}

pub(crate) const DEVICE: Bounds = Bounds { messages: 1000, bytes: 1024 * 1024, window: 16, waits: false };
pub(crate) const READER: Bounds =
    Bounds { messages: 65_536, bytes: 16 * 1024 * 1024, window: 64, waits: false };
pub(crate) const SERVER: Bounds =
    Bounds { messages: 65_536, bytes: 64 * 1024 * 1024, window: 4096, waits: true };
