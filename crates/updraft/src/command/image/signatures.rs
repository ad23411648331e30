//! The signatures of an image: `updraft image sign` and `verify`, and what `inspect` shows of them.

use std::path::Path;

use ::image::Summary;
use ::image::signature::{Scheme, SignatureError, SignatureSector};
use ::image::signing::{PublicKey, SigningKey, append, sign};
use anyhow::{Context as _, bail};
use contract::Sha256;
use serde_json::{Value, json};

/// What there is in one place of the signature sector.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Which, from 1 as people count.
    number: usize,
    /// By what it is signed, where that can be read.
    signer: Option<(Scheme, Sha256)>,
    verdict: Result<(), SignatureError>,
}

pub(super) fn of(image: &[u8], summary: &Summary) -> Vec<Found> {
    let sector = summary.signed_digest.and_then(|_| SignatureSector::of_file(image));
    let blocks = sector.into_iter().flat_map(|sector| sector.blocks());
    let found = blocks.map(|(place, block)| Found {
        number: place + 1,
        signer: block.ok().map(|block| (block.scheme(), Sha256(block.key_digest()))),
        verdict: block.and_then(|block| block.verify()),
    });
    found.collect()
}

impl Found {
    pub(super) fn is_good(&self) -> bool {
        self.verdict.is_ok()
    }

    /// Who signed, and whether that is so.
    pub(super) fn sentence(&self) -> String {
        let number = self.number;
        match (&self.signer, self.verdict) {
            (Some((scheme, key)), Ok(())) => format!("block {number}: good, {scheme}, by key {key}"),
            (Some((scheme, key)), Err(error)) => {
                format!("block {number}: BAD, {scheme}, names key {key}: {error}")
            }
            (None, Ok(())) => format!("block {number}"),
            (None, Err(error)) => format!("block {number}: BAD: {error}"),
        }
    }

    /// The same for a program.
    pub(super) fn json(&self) -> Value {
        json!({
            "block": self.number,
            "scheme": self.signer.map(|(scheme, _)| scheme.title()),
            "key": self.signer.map(|(_, key)| key),
            "ok": self.is_good(),
            "error": self.verdict.err().map(|error| error.to_string()),
        })
    }

    fn is_by(&self, key: Sha256) -> bool {
        self.signer.is_some_and(|(_, signer)| signer == key)
    }
}

/// Refuses to write the signed image over the one that it is made from: signed twice, that would be lost.
pub(super) fn refuse_same_file(image: &Path, output: &Path) -> anyhow::Result<()> {
    let same = std::fs::canonicalize(image).ok().zip(std::fs::canonicalize(output).ok());
    if same.is_some_and(|(image, output)| image == output) {
        bail!("{} is the image to be signed; give another file with --output", output.display());
    }
    Ok(())
}

/// Signs an image, beside the signatures that it has if that is asked for, and writes it. Gives what to tell.
pub(super) fn sign_file(
    image: &[u8],
    key: &SigningKey,
    appends: bool,
    output: &Path,
) -> anyhow::Result<String> {
    if appends && ::image::verify(image).is_ok_and(|summary| summary.signature_blocks == 0) {
        bail!("the image has no signature that another could stand beside; leave --append out");
    }
    let signed = if appends { append(image, key) } else { sign(image, key) }?;
    let count = ::image::verify(&signed).context("the signed image")?.signature_blocks;
    std::fs::write(output, &signed).with_context(|| format!("{} cannot be written", output.display()))?;
    let key = Sha256(key.public().digest());
    Ok(match count {
        1 => format!("{} is signed by key {key}.", output.display()),
        _ => format!("{} is signed by key {key}, and has {count} signatures.", output.display()),
    })
}

/// Looks for a good signature by a key. Gives what to tell; the error is why there is none.
pub(super) fn verify_by(found: &[Found], key: &PublicKey) -> anyhow::Result<String> {
    let digest = Sha256(key.digest());
    if let Some(found) = found.iter().find(|found| found.is_by(digest) && found.is_good()) {
        return Ok(found.sentence());
    }
    if found.is_empty() {
        bail!("the image is not signed");
    }
    let list: Vec<String> = found.iter().map(Found::sentence).collect();
    bail!("no good signature is by key {digest} ({})", list.join("; "));
}

#[cfg(test)]
mod tests {
    use ::image::build::Build;
    use ::image::{Chip, verify};

    use super::*;

    fn image() -> Vec<u8> {
        Build { size_bytes: 4096, ..Build::new(Chip::Esp32C6, "1.0.0") }.bytes()
    }

    fn key() -> SigningKey {
        SigningKey::generate(Scheme::EcdsaP256).expect("a key")
    }

    fn found(image: &[u8]) -> Vec<Found> {
        of(image, &verify(image).expect("a sound image"))
    }

    #[test]
    fn signing_twice_leaves_two_signatures_that_are_told_apart() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("signed.bin");
        let (old, new) = (key(), key());
        sign_file(&image(), &old, false, &path).expect("signed");
        let once = std::fs::read(&path).expect("readable");
        let said = sign_file(&once, &new, true, &path).expect("signed");
        assert!(said.contains("2 signatures"), "{said}");
        let found = found(&std::fs::read(&path).expect("readable"));
        for (number, key) in [(1, &old), (2, &new)] {
            let said = verify_by(&found, &key.public()).expect("good");
            let digest = Sha256(key.public().digest());
            assert_eq!(said, format!("block {number}: good, ECDSA P-256, by key {digest}"));
        }
        assert!(sign_file(&once, &new, false, &path).is_err(), "a second one must be asked for");
    }

    #[test]
    fn the_image_itself_is_not_overwritten() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("firmware.bin");
        std::fs::write(&path, image()).expect("written");
        let refused = refuse_same_file(&path, &folder.path().join(".").join("firmware.bin"));
        assert!(refused.expect_err("refused").to_string().contains("another file"));
        assert!(refuse_same_file(&path, &folder.path().join("signed.bin")).is_ok());
    }

    #[test]
    fn a_signature_that_does_not_count_is_refused_in_a_sentence() {
        let signer = key();
        let refusal = |image: &[u8], key: &SigningKey| {
            verify_by(&found(image), &key.public()).expect_err("refused").to_string()
        };
        assert_eq!(refusal(&image(), &signer), "the image is not signed");
        let mut signed = sign(&image(), &signer).expect("signed");
        let by = format!("by key {}", Sha256(signer.public().digest()));
        let said = refusal(&signed, &key());
        assert!(said.starts_with("no good signature is by key") && said.contains(&by), "{said}");
        let last = signed.len() - 4096 + 110;
        signed[last] ^= 1;
        let said = refusal(&signed, &signer);
        assert!(said.contains("block 1: BAD: the signature block is damaged"), "{said}");
    }
}
