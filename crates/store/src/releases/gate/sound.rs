//! Whether it is an image at all, whole, and with good signatures: what the bytes themselves say, whatever they are to be
//! published as.

use cause::{Cause, Entry, file, gate};
use contract::Sha256;
use image::signature::SignatureSector;
use image::{ImageError, Prefix, Summary};

use crate::releases::gate::check::Check;
use crate::releases::gate::known_file;
use crate::releases::gate::merged::Merged;

/// Which check a fault belongs to, and what it is. `file` is what the person calls the image.
pub(super) fn refusal(bytes: &[u8], error: &ImageError, file: Option<&str>) -> (Check, Cause) {
    if let Some(merged) = Merged::find(bytes, error) {
        return (Check::MergedImage, merged.cause(bytes, file));
    }
    let fault = |entry: Entry| entry.naming("fault", error);
    match *error {
        ImageError::NotAnImage { .. } | ImageError::Truncated { bytes: 0, .. } => {
            (Check::NotAnImage, known_file::known(bytes).unwrap_or_else(|| fault(gate::NOT_AN_IMAGE)))
        }
        ImageError::NotForEsp32 { .. } => (Check::NotAnImage, file::ESP8266.cause()),
        ImageError::NotAnApplication => (Check::NotAnImage, file::BOOTLOADER.cause()),
        ImageError::Truncated { bytes, at_least } => {
            (Check::Truncated, gate::TRUNCATED.with("size", bytes).with("at_least", at_least))
        }
        // `too-large` is about a slot, and can be overruled.
        ImageError::TooLarge => (Check::Layout, fault(gate::TOO_LONG)),
        ImageError::SegmentCount { .. } | ImageError::SegmentLength { .. } => {
            (Check::Layout, fault(gate::CORRUPT))
        }
        ImageError::SegmentMisaligned { .. } => (Check::Layout, fault(gate::MISALIGNED)),
        ImageError::TrailingBytes { end } => trailing(bytes, end),
        ImageError::Checksum { .. } => (Check::Checksum, fault(gate::CORRUPT)),
        ImageError::Digest => (Check::Digest, fault(gate::CORRUPT)),
        ImageError::Signature { .. } => (Check::Signature, fault(gate::MALFORMED_SIGNATURE)),
        // A table that names no application.
        ImageError::MergedFlashImage { .. } => (Check::MergedImage, fault(gate::NOT_AN_IMAGE)),
    }
}

/// A signature of Secure Boot v1: four zeros and a signature of 64 bytes (`secure_boot_v1_signature_t`), right behind the image.
const SECURE_BOOT_V1_BYTES: usize = 68;

/// What follows an image that is not a signature which could be checked.
fn trailing(bytes: &[u8], end: u32) -> (Check, Cause) {
    let rest = bytes.get(end as usize..).unwrap_or_default();
    let filled = |byte: u8| rest.iter().all(|other| *other == byte);
    let signature = rest.get(4..SECURE_BOOT_V1_BYTES).filter(|_| rest.starts_with(&[0; 4]));
    let is_padding =
        |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0) || bytes.iter().all(|byte| *byte == 0xFF);
    let behind = rest.get(SECURE_BOOT_V1_BYTES..).unwrap_or_default();
    if signature.is_some_and(|signature| !is_padding(signature)) && is_padding(behind) {
        return (Check::Signature, file::SECURE_BOOT_V1.cause());
    }
    if rest.starts_with(b"\r\n--") {
        return (Check::Layout, file::MULTIPART.cause());
    }
    let padding = [0xFF, 0x00].into_iter().find(|byte| filled(*byte)).map(|byte| format!("0x{byte:02X}"));
    let cause = gate::TRAILING_BYTES.with("end", end).with("foreign", padding.is_none().then_some("yes"));
    (Check::Layout, cause.with("padding", padding).with("count", rest.len() as u64))
}

/// Header and descriptor of an image that is corrupt further on, so that more can be said of it than that.
pub(super) fn prefix(bytes: &[u8], error: &ImageError) -> Option<Prefix> {
    let is_corrupt = matches!(
        error,
        ImageError::Truncated { .. }
            | ImageError::SegmentLength { .. }
            | ImageError::SegmentMisaligned { .. }
            | ImageError::TrailingBytes { .. }
            | ImageError::Checksum { .. }
            | ImageError::Digest
            | ImageError::Signature { .. }
    );
    // Nothing is said of a bootloader.
    let is_shown = is_corrupt && Merged::find(bytes, error).is_none();
    is_shown.then(|| Prefix::parse(bytes).ok()).flatten()
}

/// The digests of the keys whose signatures are good; none for an image that is not signed. Refuses one with
/// signatures of which none is good: every device that looks would refuse it, and something went wrong on the way here. For an
/// image that was verified: its blocks are for it.
pub(super) fn signers(bytes: &[u8], summary: &Summary) -> Result<Vec<Sha256>, Cause> {
    let sector = summary.signed_digest.and_then(|_| SignatureSector::of_file(bytes));
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

#[cfg(test)]
mod tests {
    use image::Chip;
    use image::build::Build;

    use super::*;

    /// The last 68 bytes of a signed image.
    const TAIL: &str = "00000000e22cab789b2a43accafa7f5a6f72b606b2d9d37321ac2a5fc282f375\
                        a45c9c6872a4539bf5837ad58288d48a2a37f31aeb92c626895f232117f03d2ea460c64d";

    #[test]
    fn a_signature_of_secure_boot_v1_is_refused_by_name() {
        let app = Build { size_bytes: 4096, ..Build::new(Chip::Esp32, "1.0.0") }.bytes();
        let said = |behind: &[u8]| {
            let bytes = [&app[..], behind].concat();
            refusal(&bytes, &image::verify(&bytes).expect_err("more than the image"), None)
        };
        let tail = hex::decode(TAIL).expect("digits");
        for behind in [tail.clone(), [&tail[..], &[0xFF; 12]].concat(), [&tail[..], &[0; 60]].concat()] {
            let (check, cause) = said(&behind);
            assert_eq!(check, Check::Signature);
            assert!(
                cause.sentence().contains("Secure Boot v1") && cause.sentence().contains("version 2"),
                "{cause}"
            );
        }
        for (behind, words) in [
            (vec![0; 68], "68 bytes of 0x00"),
            (vec![0xFF; 5000], "5,000 bytes of 0xFF"),
            (tail[..67].to_vec(), "something that is not a signature"),
            ([&[0; 4][..], &[0xFF; 64]].concat(), "something that is not a signature"),
            (b"\r\n------WebKitFormBoundary7MA4--\r\n".to_vec(), "the body of a form"),
            ([&tail[..], b"more"].concat(), "something that is not a signature"),
        ] {
            let (check, cause) = said(&behind);
            assert_eq!(check, Check::Layout);
            assert!(cause.sentence().contains(words), "{cause}");
        }
    }
}
