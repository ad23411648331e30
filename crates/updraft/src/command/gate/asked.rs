//! What was asked of a server's gate, and whether an answer can be the answer to it.

use api::GateDecision;
use bytes::Bytes;
use contract::{ChannelName, ProductName, Sha256, Version};
use serde_json::json;
use sha2::Digest;

use super::answer::Answer;

/// An image that was sent, and what for.
pub(crate) struct Asked<'a> {
    pub(crate) product: &'a ProductName,
    /// `None`: what the image calls itself.
    pub(crate) version: Option<&'a Version>,
    pub(crate) image: &'a Bytes,
    pub(crate) promote: Option<&'a ChannelName>,
}

/// Whether an answer does not contradict itself.
pub(super) fn is_consistent(answer: &Answer) -> bool {
    let judgement = &answer.judgement;
    match judgement.decision {
        GateDecision::Refused => judgement.refusal.as_ref().is_some_and(|why| !why.is_empty()),
        GateDecision::Pass => judgement.refusal.is_none() && judgement.version.is_some(),
    }
}

impl Asked<'_> {
    /// What in an answer is not as it was sent, in a few words. Of a refusal only what is there is compared: it may be of
    /// something that is no image.
    pub(super) fn contradiction(&self, answer: &Answer) -> Option<String> {
        let judgement = &answer.judgement;
        if judgement.product != *self.product {
            return Some(format!("it names the product {:?}", judgement.product.as_str()));
        }
        if let (Some(asked), Some(answered)) = (self.version, &judgement.version)
            && asked != answered
        {
            return Some(format!("it names the version {answered}, and {asked} was asked for"));
        }
        let sha256 = Sha256(sha2::Sha256::digest(self.image).into());
        let may_be_unknown = judgement.decision == GateDecision::Refused || answer.is_unchanged();
        if judgement.sha256 != Some(sha256) && !(may_be_unknown && judgement.sha256.is_none()) {
            let named = json!(judgement.sha256);
            return Some(format!("it names the SHA-256 {named}, and that of the image is {sha256}"));
        }
        if judgement.size != self.image.len() as u64 {
            let (size, sent) = (judgement.size, self.image.len());
            return Some(format!("it names a size of {size} bytes, and the image has {sent}"));
        }
        let promoted = answer.published.as_ref()?.promoted.as_ref();
        if promoted != self.promote {
            let asked = self.promote.map_or("no channel was to be promoted".to_owned(), |channel| {
                format!("{channel} was to be promoted")
            });
            return Some(format!("{asked}, and it names {}", promoted.map_or("none", ChannelName::as_str)));
        }
        None
    }
}
