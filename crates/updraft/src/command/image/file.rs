//! An image's file: read with a limit, and verified.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use ::image::{ImageError, Summary};
use anyhow::{Context as _, bail};

/// Reads an image file and verifies what it is, not who signed it.
pub(super) fn open(path: &Path) -> anyhow::Result<(Vec<u8>, Summary)> {
    let bytes = read(path)?;
    let summary = judge(&bytes).with_context(|| path.display().to_string())?;
    Ok((bytes, summary))
}

/// Reads an image file, no further than one byte past the longest image: the verifier says what is wrong with that.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path.is_dir() {
        bail!("{} is a folder, not an image", path.display());
    }
    read_at_most(path, u64::from(::image::IMAGE_MAX_BYTES) + 1)
}

/// The first bytes of a file, at most so many.
pub(crate) fn read_at_most(path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)) {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => bail!("there is no file {}", path.display()),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

/// Verifies an image. Of a file that is too large that is said, unless there is a better reason to refuse it.
fn judge(bytes: &[u8]) -> Result<Summary, ImageError> {
    match ::image::verify(bytes) {
        Err(error @ (ImageError::NotAnImage { .. } | ImageError::MergedFlashImage { .. })) => Err(error),
        Err(_) if bytes.len() > ::image::IMAGE_MAX_BYTES as usize => Err(ImageError::TooLarge),
        verdict => verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &Path) -> String {
        let verdict = read(path).and_then(|bytes| judge(&bytes).map_err(anyhow::Error::from));
        format!("{:#}", verdict.expect_err("a refusal"))
    }

    #[test]
    fn a_file_that_cannot_be_an_image_is_refused_in_a_sentence() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let missing = folder.path().join("firmware.bin");
        assert_eq!(refusal(&missing), format!("there is no file {}", missing.display()));
        assert_eq!(refusal(folder.path()), format!("{} is a folder, not an image", folder.path().display()));
        let text = folder.path().join("notes.txt");
        std::fs::write(&text, "hello").expect("written");
        assert_eq!(refusal(&text), "this is not an ESP32 application image: it begins with 0x68, not 0xE9");
    }

    #[test]
    fn a_file_larger_than_any_flash_is_refused_without_being_read_to_its_end() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("large.bin");
        std::fs::write(&path, [0xE9]).expect("written");
        // Nothing is stored of it, but reading it would take hours.
        File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_len(1 << 40))
            .expect("a sparse file");
        assert_eq!(refusal(&path), "the image is too large: no ESP32 takes more than 16 MiB");
    }
}
