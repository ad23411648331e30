//! Connections that come in: how many there may be, of whom, and who makes room for whom.
//!
//! A connection *waits* until it has said what it wants: its request is not whole, or the password has not come. It *works*
//! from then on. Who waits is never refused: where there are too many, the oldest of the address with the most is closed,
//! so that thousands who say nothing cost somebody else no time. What works is refused once there is as much as the limits
//! allow, with an answer of its protocol.

mod accept;
mod connections;
mod descriptors;

pub use accept::{accept, bind};
pub use connections::{Connections, Full, Limits, Place, network};
pub use descriptors::available;
