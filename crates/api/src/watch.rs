//! What a watcher is told: whether a server works, and what happened.

use contract::{DeviceId, ProductName};
use serde::{Deserialize, Serialize};

/// The server works.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Health {
    /// `ok`.
    pub status: String,
    /// The server's version.
    pub version: String,
    /// What works and may not be as it should.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What happened, for those who watch. Carries ids only: watchers ask again for what they show.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A device or its newest update changed, or it was removed.
    Device {
        /// Which.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        device: DeviceId,
    },
    /// Releases, channels or the blocked list of a product changed.
    Product {
        /// Which.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        product: ProductName,
    },
    /// A rollout changed, or how far it is.
    Rollout {
        /// Which.
        rollout: i64,
    },
    /// The store became unreachable or reachable again, or the broker did.
    Health,
}
