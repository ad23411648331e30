//! What a person, or a job, says of an image that is to be published.

use chrono::{DateTime, Utc};
use contract::{ProductName, Version};

use crate::releases::gate::check::Check;
use crate::releases::gate::facts::Slot;

/// At most this many bytes of UTF-8 the notes of a release may have: percent-encoded they still fit into a request
/// line.
pub const NOTES_MAX_BYTES: usize = 16 * 1024;

/// What is to be published, besides the image itself.
#[derive(Debug, Clone)]
pub struct Publication {
    /// For which product.
    pub product: ProductName,
    /// As which version; `None` takes the image's own, if it has one.
    pub version: Option<Version>,
    /// Checks of the gate that a person overrules.
    pub allow: Vec<Check>,
    /// What the person calls the file, for a command that works on it.
    pub file: Option<String>,
    /// What is new.
    pub notes: Option<String>,
    /// Git commit.
    pub commit: Option<String>,
    /// Git tag at that commit.
    pub tag: Option<String>,
    /// Whether what was built differed from that commit.
    pub dirty: Option<bool>,
    /// When the image was built; `None` is what its own descriptor says, if it does.
    pub built_at: Option<DateTime<Utc>>,
    /// The lowest version that may update to this one directly.
    pub requires: Option<Version>,
    /// The smallest slot of the product's devices, where a server knows them.
    pub slot: Option<Slot>,
}

impl Publication {
    /// An image of a product, of which nothing else is said.
    pub fn new(product: ProductName) -> Self {
        Self {
            product,
            version: None,
            allow: Vec::new(),
            file: None,
            notes: None,
            commit: None,
            tag: None,
            dirty: None,
            built_at: None,
            requires: None,
            slot: None,
        }
    }
}
