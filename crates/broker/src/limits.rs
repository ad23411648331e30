//! The limits of connections, packets, sessions and queues.

use std::time::Duration;

use mqtt5::broker::storage::QueueLimits;

/// The longest packet a device may send, and the longest sent to one.
pub(crate) const MAX_PACKET_BYTES: usize = 16 * 1024;
/// The longest retained payload; the longest report of the contract fits.
pub(crate) const MAX_RETAINED_BYTES: usize = 4 * 1024;
/// The longest keep-alive granted, and what "no keep-alive" becomes: else a device that vanished would be
/// online for ever.
pub(crate) const MAX_KEEP_ALIVE_S: u16 = 1200;
/// How long the first packet may take.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// At most this many connections without an accepted password; more wait in the listener's backlog.
pub(crate) const MAX_HANDSHAKES: usize = 1024;
/// At most this many passwords are checked at a time: each may cost a hash and a query.
pub(crate) const MAX_ADMISSIONS: usize = 8;
/// A wrong password is answered this late. With [`MAX_HANDSHAKES`] it bounds how many can be tried in a
/// second, without ever locking out an address behind which a whole site sits.
pub(crate) const REFUSAL_DELAY: Duration = Duration::from_millis(500);
/// At most this many live connections of one device; one more closes the oldest, so that a device which lost its old
/// connections to a dead network is never locked out.
pub(crate) const MAX_CONNECTIONS: usize = 8;
/// At most this many sessions of one device that outlive their connections; one more forgets the oldest.
pub(crate) const MAX_SESSIONS: usize = 16;
/// At most this long a session outlives its connection.
pub(crate) const SESSION_EXPIRY: Duration = Duration::from_hours(24);
/// Messages on their way to a device that reads slowly, before they are queued.
pub(crate) const DEVICE_CHANNEL: usize = 64;
/// The same for the server's own client: a whole fleet reports at once after a power cut.
pub(crate) const SERVER_CHANNEL: usize = 65_536;
/// Messages queued for one session that is away or behind; the oldest are dropped.
pub(crate) const QUEUE: QueueLimits = QueueLimits { max_messages: 20_000, max_bytes: 4 * 1024 * 1024 };
/// How often expired sessions are swept.
pub(crate) const SWEEP: Duration = Duration::from_mins(1);
/// How long connections get to end by themselves when the broker stops.
pub(crate) const GRACE: Duration = Duration::from_millis(1500);
/// How long a removed device's connections get to end.
pub(crate) const REMOVAL_TIMEOUT: Duration = Duration::from_secs(2);
