//! What the gate says of an image.

use cause::Cause;
use contract::{ProductName, Sha256, Version};
use serde::{Deserialize, Serialize};

use crate::Problem;
use crate::word::{Word, if_readable};

/// What the gate found in an image that is to be published (docs/gate.md lists the checks).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Finding {
    /// The check's name, which never changes.
    pub check: String,
    /// What the check does that finds something.
    #[cfg_attr(feature = "openapi", schema(value_type = Level))]
    pub level: Word<Level>,
    /// Whether it was overruled: a refusal that does not refuse, a warning that need not be shown.
    pub allowed: bool,
    /// Whether it can be overruled.
    pub overrulable: bool,
    /// What was found, why it matters and what to do.
    pub sentence: String,
    /// The same for programs: a code with parameters.
    #[serde(default, deserialize_with = "if_readable")]
    pub cause: Option<Cause>,
}

/// A release's size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SizeOf {
    /// Which version; null for an image that has none.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub version: Option<Version>,
    /// Bytes.
    pub size: u64,
}

/// What the gate says of an image that is not published, or not yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Judgement {
    /// Whether it would be published.
    pub decision: GateDecision,
    /// Why it is refused, in one sentence that names every refusal; null if it is not.
    pub refusal: Option<String>,
    /// The product it is for.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub product: ProductName,
    /// The version that was asked for, or the image's own.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub version: Option<Version>,
    /// Bytes.
    pub size: u64,
    /// Digest of the image; null if it is not sound.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub sha256: Option<Sha256>,
    /// Chip name; null if the image does not say one we know.
    pub chip: Option<String>,
    /// All that was found.
    pub findings: Vec<Finding>,
    /// The smallest slot of the product's devices, in bytes; null where it is not known.
    pub slot_bytes: Option<u32>,
    /// The sizes of up to five releases below it, oldest first, and its own.
    pub trend: Vec<SizeOf>,
}

/// What a check does that finds something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing is published, unless it is overruled.
    Refuse,
    /// It is said, and published.
    Warn,
}

/// What the gate decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum GateDecision {
    /// Nothing refuses the image.
    Pass,
    /// At least one check does.
    Refused,
}

/// Why an image was not published, with all that the gate found.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Refusal {
    /// As of every request that fails.
    #[serde(flatten)]
    pub problem: Problem,
    /// What the gate says.
    #[serde(flatten)]
    pub judgement: Judgement,
}

/// How an image is to be judged: the query of the request whose body is the image.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckQuery {
    /// As which version; left out: the image's own.
    pub version: Option<Version>,
    /// Checks of the gate to overrule, with commas between.
    pub allow: Option<String>,
    /// The image's file, as sentences are to call it.
    pub file: Option<String>,
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Refuse => "refuse",
            Self::Warn => "warn",
        })
    }
}
