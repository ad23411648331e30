//! Where things lie in the store (section 1 of the contract). Keys are made here and nowhere else, of types that can
//! hold no slash and no "..", so that none leaves its place.

use std::borrow::Cow;

use contract::{ChannelName, ProductName, Version};

use crate::objects::digest::IMAGE_MAX_BYTES;

pub(crate) const FIRMWARE: &str = "firmware.bin";
/// The commit point: without it a release does not exist yet.
pub(crate) const VERSION: &str = "version.txt";
pub(crate) const METADATA: &str = "metadata.json";

/// At most this much is read of a `version.txt`.
pub(crate) const VERSION_MAX_BYTES: u64 = 1024;
/// At most this much is read of any JSON file.
pub(crate) const JSON_MAX_BYTES: u64 = 1024 * 1024;
/// At most this much is read of an image.
pub(crate) const FIRMWARE_MAX_BYTES: u64 = IMAGE_MAX_BYTES;

/// A release or a channel: the folder that holds an image, its version and its metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place(String);

impl Place {
    /// One folder for all versions that differ in their build metadata only.
    pub(crate) fn release(product: &ProductName, version: &Version) -> Self {
        Self(format!("{product}/releases/v{}", folder_name(version.precedence())))
    }

    /// The folder whose name says this version; that of an older release may have build metadata in it.
    pub(crate) fn named(product: &ProductName, version: &Version) -> Self {
        Self(format!("{product}/releases/v{}", folder_name(version.as_str())))
    }

    pub(crate) fn channel(product: &ProductName, channel: &ChannelName) -> Self {
        Self(format!("{product}/{channel}"))
    }

    pub(crate) fn firmware(&self) -> String {
        self.file(FIRMWARE)
    }

    pub(crate) fn version(&self) -> String {
        self.file(VERSION)
    }

    pub(crate) fn metadata(&self) -> String {
        self.file(METADATA)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.0)
    }
}

pub(crate) fn releases(product: &ProductName) -> String {
    format!("{product}/releases")
}

pub(crate) fn blocked(product: &ProductName) -> String {
    format!("{product}/rollback/blocked_versions.json")
}

pub(crate) fn product(product: &ProductName) -> String {
    format!("{product}/product.json")
}

/// The smallest slot that a server's devices report. No product and no channel can have this name.
pub(crate) fn slots(product: &ProductName) -> String {
    format!("{product}/_slots.json")
}

/// Opaque names may hold anything: what could leave its folder is spelled as no folder of a release is.
fn folder_name(version: &str) -> Cow<'_, str> {
    if version.bytes().all(is_plain) {
        return Cow::Borrowed(version);
    }
    let spelled =
        |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    Cow::Owned(version.bytes().map(spelled).collect())
}

/// What a version's folder is named with.
pub(crate) fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'+' | b'-')
}

/// The version that a folder below `releases/` is named after; `None` for anything that is not ours.
pub(crate) fn release_folder(name: &str) -> Option<Version> {
    let text = name.strip_prefix('v')?;
    // Of its spellings only one names a release, or there would be two of it.
    text.parse::<Version>().ok().filter(|version| version.as_str() == text && text.bytes().all(is_plain))
}

/// The release whose image this key is.
pub fn release_of(key: &str) -> Option<Version> {
    let (_, file) = key.split_once("/releases/")?;
    let (folder, file) = file.split_once('/')?;
    release_folder(folder).filter(|_| file == FIRMWARE)
}

/// Whether devices may fetch this key: the image of a release or of a channel, and nothing else.
pub(crate) fn is_servable(key: &str) -> bool {
    let mut parts = key.split('/');
    let product = parts.next().is_some_and(|name| name.parse::<ProductName>().is_ok());
    let place = match parts.next() {
        Some("releases") => parts.next().is_some_and(|name| release_folder(name).is_some()),
        Some(channel) => channel.parse::<ChannelName>().is_ok(),
        None => false,
    };
    product && place && parts.next() == Some(FIRMWARE) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_release_s_path_names_its_version() {
        let version = |key: &str| release_of(key).map(|version| version.as_str().to_owned());
        assert_eq!(version("p/releases/v1.0.0-rc.1+b/firmware.bin").as_deref(), Some("1.0.0-rc.1+b"));
        for other in
            ["p/production/firmware.bin", "p/releases/v1.0.0/version.txt", "p/releases/1.0.0/firmware.bin"]
        {
            assert_eq!(version(other), None, "{other}");
        }
    }

    #[test]
    fn spellings_of_one_precedence_have_one_folder() {
        let product = "p".parse().expect("a product");
        let place = |version: &str| Place::release(&product, &version.parse().expect("a version")).version();
        assert_eq!(place("1.0.0-rc.1+g1"), "p/releases/v1.0.0-rc.1/version.txt");
        assert_eq!(place("1.0.0-rc.1"), place("1.0.0-rc.1+g2"));
    }

    #[test]
    fn only_images_are_served() {
        for key in [
            "esp32s3/production/firmware.bin",
            "esp32s3/beta/firmware.bin",
            "esp32s3/releases/v1.0.0/firmware.bin",
            "esp32s3/releases/v1.0.0-rc.1+b.2/firmware.bin",
        ] {
            assert!(is_servable(key), "{key}");
        }
        for key in [
            "",
            "/",
            "esp32s3/product.json",
            "esp32s3/production/version.txt",
            "esp32s3/rollback/firmware.bin",
            "esp32s3/_slots/firmware.bin",
            "esp32s3/releases/firmware.bin",
            "esp32s3/releases/1.0.0/firmware.bin",
            "esp32s3/releases/vv1.0.0/firmware.bin",
            "esp32s3/releases/v1.0.0 /firmware.bin",
            "esp32s3/releases/../production/firmware.bin",
            "../esp32s3/production/firmware.bin",
            "/esp32s3/production/firmware.bin",
            "esp32s3//production/firmware.bin",
            "esp32s3/production/firmware.bin/",
            "esp32s3/%2e%2e/firmware.bin",
            "esp32s3/production/firmware.bin\0",
        ] {
            assert!(!is_servable(key), "{key:?}");
        }
    }

    #[test]
    fn no_name_of_a_version_leaves_its_folder() {
        let product = "p".parse().expect("a product");
        for name in ["../../q/production", "a/b", "a\\b", "..", "20230913-114010/v1.14.0-gcb84623", "ü"] {
            let key = Place::release(&product, &name.parse().expect("a version")).firmware();
            let parts: Vec<&str> = key.split('/').collect();
            assert_eq!((parts.len(), parts[3], parts[2].starts_with('v')), (4, FIRMWARE, true), "{key}");
            assert!(key.is_ascii() && !key.contains('\\'), "{key}");
        }
    }

    proptest! {
        #[test]
        fn no_served_key_climbs(key in "[a-z0-9./%\\\\v-]{0,40}") {
            if is_servable(&key) {
                prop_assert!(key.split('/').all(|part| !part.is_empty() && part != "." && part != ".."));
            }
        }
    }
}
