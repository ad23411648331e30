//! `updraft image stamp` and `updraft publish --stamp`: an image is made to say itself what it is.

use std::path::Path;

use ::image::{Stamp, StampError, stamp};
use anyhow::Context as _;
use contract::{ProductName, Version};

/// Stamps the bytes of an image; the error says what to do where another command helps.
pub(crate) fn stamped(
    mut image: Vec<u8>,
    version: &Version,
    product: &ProductName,
    secure_version: Option<u32>,
) -> anyhow::Result<Vec<u8>> {
    let says = Stamp { version: version.as_str(), product: product.as_str(), secure_version };
    match stamp(&mut image, &says) {
        Ok(()) => Ok(image),
        Err(error @ StampError::Image(_)) => Err(error).context("the image cannot be stamped"),
        Err(error) => Err(error.into()),
    }
}

/// Stamps an image and writes it. Gives what to tell.
pub(super) fn stamp_file(
    image: Vec<u8>,
    version: &Version,
    product: &ProductName,
    secure_version: Option<u32>,
    output: &Path,
) -> anyhow::Result<String> {
    let image = stamped(image, version, product, secure_version)?;
    let descriptor = ::image::verify(&image)?.descriptor.context("the stamped image")?;
    std::fs::write(output, &image).with_context(|| format!("{} cannot be written", output.display()))?;
    let (output, secure_version) = (output.display(), descriptor.secure_version());
    Ok(format!("{output} says that it is {product} {version}, with secure version {secure_version}."))
}
