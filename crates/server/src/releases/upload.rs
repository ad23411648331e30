//! What is said of an image that is published.

use contract::{ChannelName, Version};
use store::Check;

/// What is said of an image that is published.
#[derive(Debug, Clone, Default)]
pub struct Upload {
    /// As which version; `None` takes the image's own, if it has one.
    pub version: Option<Version>,
    /// What is new.
    pub notes: Option<String>,
    /// Git commit.
    pub commit: Option<String>,
    /// Git tag at that commit.
    pub tag: Option<String>,
    /// Whether what was built differed from that commit.
    pub dirty: Option<bool>,
    /// The lowest version that may update to this one directly.
    pub requires: Option<Version>,
    /// Checks of the gate that are overruled.
    pub allow: Vec<Check>,
    /// What the person calls the image's file.
    pub file: Option<String>,
    /// The channel that is to point to it.
    pub promote: Option<ChannelName>,
}
