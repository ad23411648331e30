//! Failures, as RFC 9457 spells them.

use cause::Cause;
use serde::{Deserialize, Serialize};

use crate::word::if_readable;

/// A failure; `detail` is the sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// Always `about:blank`: the status says the kind.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The status in words.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// What failed, on what, and what to do.
    pub detail: String,
    /// The same for programs, where a service said it: a code with parameters.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "if_readable")]
    pub cause: Option<Cause>,
}
