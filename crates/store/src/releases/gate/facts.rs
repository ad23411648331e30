//! What an image is compared with: all that is known of its product, and how its gate is set.

use cause::Cause;
use contract::{Sha256, Version};
use image::{AppDescriptor, Header};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::releases::gate::check::Check;

/// The smallest slot that an image of the product must fit into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Its size.
    #[serde(rename = "slot_bytes")]
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
    /// Other bytes are published as it, spelled like this.
    OtherBytes(Version),
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
    /// So many of them must have signed.
    pub signatures_required: u8,
    /// No image with a lower secure version is taken.
    pub secure_version: u32,
    /// How the gate is set.
    pub settings: GateSettings,
    /// What production runs, if anything.
    pub production: Option<Production>,
    /// The releases and their bytes, highest version first.
    pub sizes: Vec<(Version, u64)>,
    /// Other versions under which these very bytes are published.
    pub twins: Vec<Version>,
    /// Why these very bytes must not be published, where a version that has them is blocked.
    pub blocked: Option<Cause>,
    /// Whether the version is there already.
    pub taken: Taken,
}

/// The share of the smallest slot from which on the gate warns, in percent.
const WARN_PERCENT: u8 = 90;

/// How the gate is set for a product: the part `gate` of its `product.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateSettings {
    /// Checks that are overruled for every image.
    pub allow: Vec<Check>,
    /// From how many percent of the smallest slot on an image is warned about; 1 to 100.
    pub warn_percent: u8,
}

impl Default for GateSettings {
    fn default() -> Self {
        Self { allow: Vec::new(), warn_percent: WARN_PERCENT }
    }
}

impl GateSettings {
    pub(crate) fn parse(value: &Value) -> Result<Self, String> {
        let map = value.as_object().ok_or("gate is not an object")?;
        let mut settings = Self::default();
        for (key, value) in map {
            match key.as_str() {
                "allow" => {
                    let names = value.as_array().ok_or("gate.allow is not an array of names")?;
                    let names =
                        names.iter().map(|name| name.as_str().ok_or("gate.allow is not an array of names"));
                    for name in names {
                        settings.allow.push(name?.parse().map_err(|error| format!("gate.allow: {error}"))?);
                    }
                }
                "warn_percent" => {
                    let percent = value.as_u64().and_then(|percent| u8::try_from(percent).ok());
                    settings.warn_percent = percent
                        .filter(|percent| (1..=100).contains(percent))
                        .ok_or_else(|| format!("gate.warn_percent is {value}, not a number from 1 to 100"))?;
                }
                other => return Err(format!("gate has no {other:?}, only allow and warn_percent")),
            }
        }
        Ok(settings)
    }
}
