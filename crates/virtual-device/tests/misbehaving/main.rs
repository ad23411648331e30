//! Servers that misbehave, one way after the other: what the device does, what it says, and what its flash holds.
//!
//! Everything is real but the broker: the agent, the sockets, the flash and the bootloader's rules.

mod device;
mod refused;
mod server;
mod slow;
mod survived;
mod tls;
