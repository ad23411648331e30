//! Whom and what the demo is about: the devices, and the releases that they run, fall back from and end with.

use contract::{ProductName, Version};

pub(super) const PRODUCT: &str = "lamp";
pub(super) const DEVICES: [&str; 5] =
    ["lamp-kitchen", "lamp-hallway", "lamp-studio", "lamp-porch", "lamp-garden"];
pub(super) const OLD: &str = "1.0.0";
pub(super) const BAD: &str = "1.1.0";
pub(super) const GOOD: &str = "1.2.0";
/// Three of the five first.
pub(super) const STEPS: &str = "60, 100";

pub(super) fn product() -> ProductName {
    PRODUCT.parse().expect("the demo's product has a valid name")
}

pub(super) fn version(text: &str) -> Version {
    text.parse().expect("the demo's versions are valid")
}
