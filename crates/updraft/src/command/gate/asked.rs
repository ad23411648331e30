//! What was asked of a server's gate, and whether an answer can be the answer to it.

use bytes::Bytes;
use contract::{ChannelName, ProductName, Version};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// An image that was sent, and what for.
pub(crate) struct Asked<'a> {
    pub(crate) product: &'a ProductName,
    /// `None`: what the image calls itself.
    pub(crate) version: Option<&'a Version>,
    pub(crate) image: &'a Bytes,
    pub(crate) promote: Option<&'a ChannelName>,
    /// The decisions that are no refusal.
    pub(crate) good: &'static [&'static str],
}

/// Those of a publish.
pub(crate) const PUBLISHED: &[&str] = &["published", "unchanged"];
/// Those of a check.
pub(crate) const PASSED: &[&str] = &["pass"];

impl Asked<'_> {
    /// Whether it has the shape of an answer. A server of a later version may say more.
    pub(super) fn is_answered_by(&self, answer: &Value) -> bool {
        let findings = answer["findings"].is_array();
        match answer["decision"].as_str() {
            Some("refused") => findings && answer["refusal"].as_str().is_some_and(|why| !why.is_empty()),
            Some(good) if self.good.contains(&good) => {
                findings
                    && version(answer).is_some()
                    && answer["size"].is_u64()
                    && answer["refusal"].is_null()
            }
            _ => false,
        }
    }

    /// What in an answer is not as it was sent, in a few words. Of a refusal only what is there is compared: it may be of
    /// something that is no image.
    pub(super) fn contradiction(&self, answer: &Value) -> Option<String> {
        let is_refusal = answer["decision"] == "refused";
        let product = &answer["product"];
        if product != self.product.as_str() && !(is_refusal && product.is_null()) {
            return Some(format!("it names the product {product}"));
        }
        if let (Some(asked), Some(answered)) = (self.version, version(answer))
            && *asked != answered
        {
            return Some(format!("it names the version {answered}, and {asked} was asked for"));
        }
        let sha256 = hex(&Sha256::digest(self.image));
        let is_unknown = answer["sha256"].is_null() && (is_refusal || answer["decision"] == "unchanged");
        if !is_unknown && answer["sha256"] != sha256.as_str() {
            return Some(format!(
                "it names the SHA-256 {}, and that of the image is {sha256}",
                answer["sha256"]
            ));
        }
        let size = &answer["size"];
        if *size != self.image.len() && !(is_refusal && size.is_null()) {
            return Some(format!("it names a size of {size} bytes, and the image has {}", self.image.len()));
        }
        let promoted = answer["promoted"].as_str();
        if !is_refusal && promoted != self.promote.map(ChannelName::as_str) {
            let asked = self.promote.map_or("no channel was to be promoted".to_owned(), |channel| {
                format!("{channel} was to be promoted")
            });
            return Some(format!("{asked}, and it names {}", promoted.unwrap_or("none")));
        }
        None
    }
}

fn version(answer: &Value) -> Option<Version> {
    answer["version"].as_str()?.parse().ok()
}

fn hex(bytes: &[u8]) -> String {
    contract::Sha256(bytes.try_into().expect("a digest has 32 bytes")).to_string()
}
