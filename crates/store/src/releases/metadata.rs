//! `metadata.json`: what is said about an image.
//!
//! Other programs write these files too. What is missing or of another type counts as not said, and is read out of
//! the image where that matters; nothing in a metadata file is believed against the image beside it.

use chrono::{DateTime, NaiveDateTime, SubsecRound, Utc};
use contract::{ProductName, Sha256, Version};
use image::{AppDescriptor, Summary};
use serde_json::{Map, Value, json};

use crate::objects::explain::first_line;
use crate::objects::object::Read;
use crate::releases::publication::{NOTES_MAX_BYTES, Publication};
use crate::text::text;

/// A commit or a tag that is longer is none.
const SHORT_MAX_BYTES: usize = 1024;

/// A metadata file, with everything in it that is not ours.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Metadata(Map<String, Value>);

impl Metadata {
    /// Reads the file. What is not a JSON object says nothing.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        Self(text(bytes).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    /// The file as it was read. What is not there, or is too long, says nothing.
    pub(crate) fn of_read(read: &Read) -> Self {
        match read {
            Read::Found(found) => Self::parse(&found.bytes),
            Read::Missing | Read::TooLong(_) => Self::default(),
        }
    }

    /// What is to be said of an image that is published, and that these keys signed.
    pub(crate) fn of(
        publication: &Publication,
        version: &Version,
        image: &Summary,
        signers: &[Sha256],
        now: DateTime<Utc>,
    ) -> Self {
        let chip = image.chip().map(image::Chip::name);
        let size = image.total_bytes as usize;
        let Self(mut map) = Self::bare(&publication.product, version, chip, size, Sha256(image.sha256));
        let descriptor = image.descriptor.as_ref();
        let built_at = publication.built_at.or_else(|| built_at(descriptor?, now));
        let more = [
            ("flash_mode", json!(image.header.flash_mode())),
            ("elf_sha256", json!(descriptor.and_then(AppDescriptor::elf_sha256).map(Sha256))),
            ("project_name", json!(descriptor.map(AppDescriptor::project_name))),
            ("idf_version", json!(descriptor.map(AppDescriptor::idf_version))),
            ("secure_version", json!(descriptor.map(AppDescriptor::secure_version))),
            ("signed_by", json!(signers)),
            ("built_at", json!(built_at)),
            ("published_at", json!(now.trunc_subsecs(0))),
            ("commit", json!(publication.commit)),
            ("tag", json!(publication.tag)),
            ("dirty", json!(publication.dirty)),
            ("notes", json!(publication.notes)),
            ("requires", json!(publication.requires)),
        ];
        let said = more.into_iter().filter(|(_, value)| !value.is_null());
        map.extend(said.map(|(key, value)| (key.to_owned(), value)));
        Self(map)
    }

    /// What can be said of an image that somebody put there without a word.
    pub(crate) fn bare(
        product: &ProductName,
        version: &Version,
        chip: Option<&str>,
        size: usize,
        sha256: Sha256,
    ) -> Self {
        let known = [
            ("version", json!(version)),
            ("product", json!(product)),
            ("chip", json!(chip)),
            ("size", json!(size)),
            ("sha256", json!(sha256)),
        ];
        let known = known.into_iter().filter(|(_, value)| !value.is_null());
        Self(known.map(|(key, value)| (key.to_owned(), value)).collect())
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

    /// The digest, if this speaks of that version: a script may have copied another release's.
    pub(crate) fn sha256_of(&self, version: &Version) -> Option<Sha256> {
        self.sha256().filter(|_| self.version().as_ref() == Some(version))
    }

    /// The name that programs have for it, whatever spelling stands there.
    pub(crate) fn chip(&self) -> Option<&'static str> {
        Some(image::Chip::from_name(self.text("chip")?)?.name())
    }

    pub(crate) fn notes(&self) -> Option<&str> {
        let notes = self.text("notes")?;
        // Another program's may be as long as the file, and there may be thousands of releases.
        let end = (0..=notes.len().min(NOTES_MAX_BYTES)).rev().find(|end| notes.is_char_boundary(*end))?;
        Some(&notes[..end])
    }

    pub(crate) fn dirty(&self) -> Option<bool> {
        self.0.get("dirty")?.as_bool()
    }

    pub(crate) fn time(&self, key: &str) -> Option<DateTime<Utc>> {
        Some(DateTime::parse_from_rfc3339(self.text(key)?).ok()?.to_utc())
    }

    /// The lowest version that may update directly. An error names what stands there and is no version: ignoring
    /// it could offer an image to a device that cannot take the step.
    pub(crate) fn requires(&self) -> Result<Option<Version>, String> {
        match self.0.get("requires") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => {
                let version: Option<Version> = text.parse().ok();
                let version = version.filter(|version| !version.is_opaque());
                version.map(Some).ok_or_else(|| first_line(text).escape_debug().to_string())
            }
            Some(other) => Err(first_line(&other.to_string()).to_owned()),
        }
    }

    pub(crate) fn short(&self, key: &str) -> Option<&str> {
        self.text(key).filter(|text| text.len() <= SHORT_MAX_BYTES)
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str().filter(|text| !text.is_empty())
    }
}

/// When an image says that it was built, if the descriptor is its own. C's `__DATE__` and `__TIME__` name no time zone:
/// they are read as UTC, which is what build machines keep, and a time that would lie ahead is not repeated.
fn built_at(descriptor: &AppDescriptor, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if !descriptor.is_apps_own() {
        return None;
    }
    // C pads the day with a space.
    let words: Vec<&str> = descriptor.date().split_whitespace().chain([descriptor.time()]).collect();
    let time = NaiveDateTime::parse_from_str(&words.join(" "), "%b %d %Y %H:%M:%S").ok()?.and_utc();
    (time <= now).then_some(time)
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

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let metadata = Metadata::parse(&bytes);
            let _ = (metadata.version(), metadata.sha256(), metadata.time("built_at"), metadata.requires());
            let _ = crate::releases::product::ProductFile::parse(&bytes);
        }

        #[test]
        fn any_values_are_read_without_panic(key in "version|size|sha256|chip|built_at|requires|notes",
                                             value in "null|true|-1|1e99|\"[0-9a-z.:TZ-]{0,30}\"|\\[\\]|\\{\\}") {
            let text = format!("{{\"{key}\":{value}}}");
            let metadata = Metadata::parse(text.as_bytes());
            let _ = (metadata.version(), metadata.sha256(), metadata.time("built_at"), metadata.requires());
            prop_assert_eq!(Metadata::parse(&metadata.to_bytes()), metadata);
        }
    }
}
