//! `metadata.json` and `product.json`: what is said about an image and about a product.
//!
//! Other programs write these files too. What is missing or of another type counts as not said, and is read out of
//! the image where that matters; nothing in a metadata file is believed against the image beside it.

use chrono::{DateTime, Utc};
use contract::{ProductName, Sha256, Version};
use image::Summary;
use serde_json::{Map, Value, json};

use crate::publish::Publication;

/// A metadata file, with everything in it that is not ours.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Metadata(Map<String, Value>);

impl Metadata {
    /// Reads the file. What is not a JSON object says nothing.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        Self(serde_json::from_slice(bytes).unwrap_or_default())
    }

    /// What is to be said of an image that is published, and that these keys signed.
    pub(crate) fn of(
        publication: &Publication,
        version: &Version,
        image: &Summary,
        signers: &[Sha256],
        now: DateTime<Utc>,
    ) -> Self {
        let mut map = Map::new();
        let mut say = |key: &str, value: Value| {
            if !value.is_null() {
                map.insert(key.to_owned(), value);
            }
        };
        say("version", json!(version));
        say("product", json!(publication.product));
        say("chip", json!(image.chip().map(image::Chip::name)));
        say("size", json!(image.total_bytes));
        say("sha256", json!(Sha256(image.sha256)));
        if let Some(descriptor) = &image.descriptor {
            say("elf_sha256", json!(descriptor.elf_sha256().map(Sha256)));
            say("project_name", json!(descriptor.project_name()));
            say("idf_version", json!(descriptor.idf_version()));
            say("secure_version", json!(descriptor.secure_version()));
        }
        say("signed_by", json!(signers));
        say("built_at", json!(publication.built_at.unwrap_or(now)));
        say("commit", json!(publication.commit));
        say("notes", json!(publication.notes));
        say("requires", json!(publication.requires));
        Self(map)
    }

    /// What can be said of an image that somebody put there without a word.
    pub(crate) fn bare(product: &ProductName, version: &Version, chip: Option<&str>, image: &[u8]) -> Self {
        let mut map = Map::new();
        map.insert("version".to_owned(), json!(version));
        map.insert("product".to_owned(), json!(product));
        map.insert("chip".to_owned(), json!(chip));
        map.insert("size".to_owned(), json!(image.len()));
        map.insert("sha256".to_owned(), json!(crate::sha256(image)));
        Self(map)
    }

    /// The file's text, ending with a new line.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(&self.0).expect("a map of JSON values is JSON");
        text.push(b'\n');
        text
    }

    /// Whether this can be about the image of that version and size beside it.
    pub(crate) fn is_about(&self, version: &Version, size: u64) -> bool {
        let says = |key: &str| self.0.get(key).filter(|value| !value.is_null());
        says("version").is_none_or(|_| self.version().as_ref() == Some(version))
            && says("size").is_none_or(|value| value.as_u64() == Some(size))
    }

    pub(crate) fn version(&self) -> Option<Version> {
        self.text("version")?.parse().ok()
    }

    pub(crate) fn sha256(&self) -> Option<Sha256> {
        Sha256::from_hex(self.text("sha256")?)
    }

    pub(crate) fn chip(&self) -> Option<&str> {
        self.text("chip").filter(|name| image::Chip::from_name(name).is_some())
    }

    pub(crate) fn notes(&self) -> Option<&str> {
        self.text("notes")
    }

    pub(crate) fn commit(&self) -> Option<&str> {
        self.text("commit")
    }

    pub(crate) fn built_at(&self) -> Option<DateTime<Utc>> {
        Some(DateTime::parse_from_rfc3339(self.text("built_at")?).ok()?.to_utc())
    }

    /// The lowest version that may update directly. An error names what stands there and is no version: ignoring
    /// it could offer an image to a device that cannot take the step.
    pub(crate) fn requires(&self) -> Result<Option<Version>, String> {
        match self.0.get("requires") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => text.parse().map(Some).map_err(|_| text.escape_debug().to_string()),
            Some(other) => Err(other.to_string()),
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str().filter(|text| !text.is_empty())
    }
}

/// What is known of a product.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProductFile {
    /// The chip that its images are for; `None` until there is one.
    pub chip: Option<String>,
    /// The smallest slot of its devices, in bytes, where somebody said so.
    pub slot_bytes: Option<u32>,
    /// SHA-256 digests of the keys whose signatures count.
    pub trusted_keys: Vec<Sha256>,
}

impl ProductFile {
    /// Reads `product.json`; the error says what is wrong. It is our own file, and what it limits must not be lost
    /// to a slip of the pen, so wrong types are errors.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let map: Map<String, Value> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        // A key that was only written another way would be passed over, and with it what it protects.
        let plain = |key: &str| key.to_lowercase().replace(['-', '_', ' '], "");
        for known in ["chip", "slot_bytes", "trusted_keys"] {
            if let Some(other) = map.keys().find(|key| *key != known && plain(key) == plain(known)) {
                return Err(format!("{other:?} is written {known:?}"));
            }
        }
        let said = |key: &str| map.get(key).filter(|value| !value.is_null());
        let chip = match said("chip") {
            None => None,
            Some(value) => match value.as_str().and_then(image::Chip::from_name) {
                Some(chip) => Some(chip.name().to_owned()),
                None => return Err(format!("{value} is not a chip's name")),
            },
        };
        let slot_bytes = match said("slot_bytes") {
            None => None,
            Some(value) => match value.as_u64().and_then(|bytes| u32::try_from(bytes).ok()) {
                Some(bytes) => Some(bytes),
                None => return Err(format!("slot_bytes is {value}, not a number of bytes")),
            },
        };
        let trusted_keys = match said("trusted_keys") {
            None => Vec::new(),
            Some(value) => serde_json::from_value(value.clone())
                .map_err(|_| "trusted_keys is not an array of SHA-256 digests".to_owned())?,
        };
        Ok(Self { chip, slot_bytes, trusted_keys })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn metadata_of_another_image_is_not_believed() {
        let version = "1.2.0".parse().expect("a version");
        let metadata = |text: &str| Metadata::parse(text.as_bytes());
        assert!(metadata("").is_about(&version, 7));
        assert!(metadata("{}").is_about(&version, 7));
        assert!(metadata(r#"{"version":"v1.2.0","size":7}"#).is_about(&version, 7));
        assert!(!metadata(r#"{"version":"1.1.0"}"#).is_about(&version, 7));
        assert!(!metadata(r#"{"version":7}"#).is_about(&version, 7));
        assert!(!metadata(r#"{"size":8}"#).is_about(&version, 7));
        assert!(!metadata(r#"{"size":"7"}"#).is_about(&version, 7));
    }

    #[test]
    fn a_requirement_that_is_no_version_is_not_overlooked() {
        assert_eq!(Metadata::parse(b"{}").requires(), Ok(None));
        assert_eq!(Metadata::parse(br#"{"requires":null}"#).requires(), Ok(None));
        assert!(Metadata::parse(br#"{"requires":"1.0.0"}"#).requires().expect("a version").is_some());
        assert!(Metadata::parse(br#"{"requires":"1.x"}"#).requires().is_err());
        assert!(Metadata::parse(br#"{"requires":["1.0.0"]}"#).requires().is_err());
    }

    #[test]
    fn a_product_file_with_wrong_types_is_an_error() {
        assert_eq!(ProductFile::parse(b"{}"), Ok(ProductFile::default()));
        let file =
            ProductFile::parse(br#"{"chip":"esp32s3","slot_bytes":1048576,"other":1}"#).expect("readable");
        assert_eq!((file.chip.as_deref(), file.slot_bytes), (Some("esp32s3"), Some(1_048_576)));
        for text in [
            "",
            "[]",
            r#"{"chip":"z80"}"#,
            r#"{"slot_bytes":"1M"}"#,
            r#"{"trusted_keys":["x"]}"#,
            r#"{"trustedKeys":[]}"#,
        ] {
            assert!(ProductFile::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let metadata = Metadata::parse(&bytes);
            let _ = (metadata.version(), metadata.sha256(), metadata.built_at(), metadata.requires());
            let _ = ProductFile::parse(&bytes);
        }

        #[test]
        fn any_values_are_read_without_panic(key in "version|size|sha256|chip|built_at|requires|notes",
                                             value in "null|true|-1|1e99|\"[0-9a-z.:TZ-]{0,30}\"|\\[\\]|\\{\\}") {
            let text = format!("{{\"{key}\":{value}}}");
            let metadata = Metadata::parse(text.as_bytes());
            let _ = (metadata.version(), metadata.sha256(), metadata.built_at(), metadata.requires());
            prop_assert_eq!(Metadata::parse(&metadata.to_bytes()), metadata);
        }
    }
}
