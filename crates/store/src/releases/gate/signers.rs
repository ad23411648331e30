//! Who signed an image, and whether its product asks for that.
//!
//! A signature that is not good is never published: it would be refused by every device that looks, and says that
//! something went wrong on the way here. Whether an image must be signed at all, `product.json` says.

use cause::{Cause, gate};
use contract::{ProductName, Sha256};
use image::signature::SignatureSector;

use crate::releases::gate::check::Check;

/// The digests of the keys whose signatures are good; none for an image that is not signed. Refuses one with
/// signatures of which none is good. For an image that was verified: its blocks are for it.
pub(crate) fn of(image: &[u8], summary: &image::Summary) -> Result<Vec<Sha256>, Cause> {
    let sector = summary.signed_digest.and_then(|_| SignatureSector::of_file(image));
    let Some(sector) = sector else { return Ok(Vec::new()) };
    let mut signers = Vec::new();
    let mut first_error = None;
    for (place, block) in sector.blocks() {
        match block.and_then(|block| block.verify().map(|()| block.key_digest())) {
            Ok(key) => signers.push(Sha256(key)),
            Err(error) => first_error = first_error.or(Some((place, error))),
        }
    }
    match first_error {
        Some((place, error)) if signers.is_empty() => {
            Err(gate::BAD_SIGNATURE.with("block", place + 1).naming("fault", error))
        }
        _ => Ok(signers),
    }
}

/// What an image lacks that no key signed that the product trusts. A product that trusts none takes any.
pub(crate) fn lacking(
    product: &ProductName,
    trusted: &[Sha256],
    signers: &[Sha256],
) -> Option<(Check, Cause)> {
    if trusted.is_empty() || signers.iter().any(|key| trusted.contains(key)) {
        return None;
    }
    let (check, cause) = if signers.is_empty() {
        (Check::Unsigned, gate::UNSIGNED.cause())
    } else {
        let (several, signers) = keys(signers);
        let cause = gate::UNTRUSTED_KEY.with("several_signers", several).with("signers", signers);
        (Check::UntrustedKey, cause)
    };
    let (several, trusted) = keys(trusted);
    Some((check, cause.naming("product", product).with("several", several).with("trusted", trusted)))
}

/// Whether there are several, and each.
fn keys(digests: &[Sha256]) -> (Option<&'static str>, Vec<String>) {
    ((digests.len() > 1).then_some("yes"), digests.iter().map(ToString::to_string).collect())
}
