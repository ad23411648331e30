//! What a rollout gives to its devices.

use contract::{ProductName, Version};

/// What a rollout gives to its devices.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) rollout: i64,
    pub(super) product: ProductName,
    pub(super) version: Version,
    /// How long a device may be silent; 0 is what the configuration says.
    pub(super) timeout_s: u32,
}
