//! What is wished for devices: the channel's version, or a rollout's.

use contract::{ProductName, Version};

#[derive(Debug, Clone)]
pub(super) struct Wish {
    /// Send it despite silence.
    pub(super) force: bool,
    /// Instead of what the channel points to.
    pub(super) target: Option<Target>,
}

/// What a rollout gives to its devices.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) rollout: i64,
    pub(super) product: ProductName,
    pub(super) version: Version,
    /// How long a device may be silent; 0 is what the configuration says.
    pub(super) timeout_s: u32,
}
