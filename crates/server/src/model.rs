//! The shapes of the API, and figures that are only shown.

pub use api::*;

/// Figures of the fleet.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Devices known.
    pub devices: u64,
    /// Of these, online.
    pub online: u64,
    /// Devices by the state of their newest update.
    pub newest: std::collections::HashMap<UpdateState, u64>,
    /// Messages taken from devices since the server started.
    pub messages: u64,
}
