//! How the gate is set for a product: the part `gate` of its `product.json`.

use serde_json::Value;

use crate::releases::gate::check::Check;

/// The share of the smallest slot from which on the gate warns, in percent.
const WARN_PERCENT: u8 = 90;

/// The gate's settings for a product.
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
