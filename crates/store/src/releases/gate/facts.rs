//! What an image is compared with: all that is known of its product.

use contract::{Sha256, Version};
use image::{AppDescriptor, Header};

use crate::releases::gate::settings::GateSettings;

/// The smallest slot that an image of the product must fit into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its size.
    pub bytes: u32,
    /// The device that reports it; `None` if `product.json` says it.
    pub device: Option<String>,
}

/// What production runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Production {
    /// Its version.
    pub version: Version,
    /// The header of its image, if it can be read.
    pub header: Option<Header>,
    /// The descriptor of its image, if it has one.
    pub descriptor: Option<AppDescriptor>,
}

/// Whether the version is there already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Taken {
    /// It is not.
    #[default]
    Free,
    /// These very bytes are published as it, spelled like this.
    SameBytes(Version),
    /// Other bytes are published as it.
    OtherBytes(Version),
    /// Other bytes are published as it, and another spelling of it too, which came too late.
    Overtaken {
        /// The spelling that counts.
        by: Version,
        /// The other one.
        overtaken: Version,
    },
    /// Another program put other bytes into production as it.
    ByProduction(Version),
}

/// What is known of the product. The default knows nothing: what is then found lies in the image itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The chip of its images; `None` until there is one.
    pub chip: Option<String>,
    /// Its smallest slot, where somebody said so.
    pub slot: Option<Slot>,
    /// The keys whose signatures count; none takes any image.
    pub trusted_keys: Vec<Sha256>,
    /// How the gate is set.
    pub settings: GateSettings,
    /// What production runs, if anything.
    pub production: Option<Production>,
    /// The releases and their bytes, highest version first.
    pub sizes: Vec<(Version, u64)>,
    /// Other versions under which these very bytes are published.
    pub twins: Vec<Version>,
    /// Whether the version is there already.
    pub taken: Taken,
}
