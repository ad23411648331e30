//! What firmware that verifies signatures does: it counts who signed an image, and keeps whom an image trusts.

use core::cmp::Ordering;

use contract::Version;
use heapless::Vec;
use image::signature::{SIGNATURE_BLOCKS_MAX, SignatureSector};

use super::{Signed, Trust};
use crate::port::Settings;
use crate::record::{Record, Trusted};
use crate::refusal::{Refusal, refuse, signature_says};
use crate::verify::SlotImage;

/// For an image that was not confirmed before.
pub(super) fn keep_trust(record: &mut Record, settings: &Settings, image: &SlotImage) {
    let by = record.trusted.as_ref().and_then(|trusted| trusted.by.as_ref());
    let is_lower = image.version.as_ref().zip(by).is_some_and(|(version, by)| is_lower(version, by));
    match image.traits.secure_version.cmp(&record.secure_version) {
        Ordering::Less => return,
        Ordering::Equal if is_lower => return,
        _ => {}
    }
    let keys = Some(settings.trusted_keys).filter(|keys| !keys.is_empty());
    record.trusted = keys.and_then(|keys| Vec::from_slice(keys).ok()).map(|keys| Trusted {
        keys,
        required: settings.signatures_required,
        by: image.version.clone(),
    });
}

/// Whether a version is lower than another, as far as its numbers tell; of the same numbers what has a hyphen counts as lower. In
/// bytes: [`Version::is_below`], which knows better, takes 2 KB.
fn is_lower(version: &Version, other: &Version) -> bool {
    if version.is_opaque() || other.is_opaque() {
        return false;
    }
    let (mut left, mut right) = (numbers(version), numbers(other));
    loop {
        let (left, right) = (left.next(), right.next());
        if left.is_none() && right.is_none() {
            return version != other && version.precedence().as_bytes().contains(&b'-');
        }
        // Without zeros before them, the longer number is the higher one.
        let (left, right) = (left.unwrap_or_default(), right.unwrap_or_default());
        match left.len().cmp(&right.len()).then_with(|| left.cmp(right)) {
            Ordering::Equal => {}
            order => return order == Ordering::Less,
        }
    }
}

fn numbers(version: &Version) -> impl Iterator<Item = &[u8]> {
    let text = version.precedence().as_bytes();
    let end = text.iter().position(|byte| *byte == b'-').unwrap_or(text.len());
    text.get(..end).unwrap_or_default().split(|byte| *byte == b'.')
}

/// Counts the trusted keys whose signatures are good.
pub(super) fn judge_blocks(sector: &[u8], trust: Trust<'_>) -> Result<Signed, Refusal> {
    let Some(sector) = sector.first_chunk() else { return refuse!(Unsigned) };
    let (mut in_efuse, mut bad) = (trust.secure_boot.is_none(), None);
    // A key that signed twice counts once.
    let mut signers = Vec::<[u8; 32], SIGNATURE_BLOCKS_MAX>::new();
    for (_, block) in SignatureSector::new(sector).blocks() {
        let block = match block {
            Ok(block) => block,
            Err(error) => {
                bad = Some(error);
                continue;
            }
        };
        let key = block.key_digest();
        let by_efuse = trust.secure_boot.is_some_and(|keys| keys.contains(&key));
        let is_trusted = trust.keys().contains(&key);
        if !is_trusted && !by_efuse {
            continue;
        }
        match block.verify() {
            Ok(()) => {
                in_efuse |= by_efuse;
                if is_trusted && !signers.contains(&key) {
                    // There are at most as many blocks.
                    let _ = signers.push(key);
                }
            }
            Err(error) => bad = Some(error),
        }
    }
    let required = if trust.keys.is_some() { trust.required.max(1) } else { 0 };
    let count = signers.len() as u8;
    match (count >= required, in_efuse, bad) {
        (true, true, _) => Ok(Signed::Yes),
        (true, false, None) => refuse!(NotInEfuse),
        (_, _, Some(error)) => refuse!(BadSignature, signature_says(error) as u32),
        (false, _, None) if count == 0 => refuse!(Untrusted),
        (false, _, None) => refuse!(TooFew, count.into(), required.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_tell_which_version_is_lower() {
        let lower = |left: &str, right: &str| {
            is_lower(&left.parse().expect("a version"), &right.parse().expect("a version"))
        };
        for (left, right) in [
            ("1.2.0", "1.10.0"),
            ("9.0.0", "10.0.0"),
            ("1.2.3", "1.2.3.4"),
            ("1.2.0-rc.1", "1.2.0"),
            ("1.1.9", "1.2.0-rc.1"),
        ] {
            assert!(lower(left, right) && !lower(right, left), "{left} {right}");
        }
        for (left, right) in
            [("1.2.0", "1.2.0+b"), ("1.2.0-rc.1", "1.2.0-rc.1"), ("build-77", "9.0.0"), ("0.0.1", "build-77")]
        {
            assert!(!lower(left, right) && !lower(right, left), "{left} {right}");
        }
    }
}
