//! `metadata.json`: what is said about an image.
//!
//! Other programs write these files too. What is missing counts as not said, and is read out of the image where that matters; a
//! file that cannot be read, or that speaks of other bytes than lie beside it, is an error: what it limits must not be lost.

use chrono::{DateTime, NaiveDateTime, SubsecRound, Utc};
use contract::{ProductName, Sha256, Version};
use image::{AppDescriptor, Summary};
use serde_json::{Map, Value, json};

use crate::json;
use crate::objects::explain::first_line;
use crate::objects::object::Read;
use crate::releases::publication::{NOTES_MAX_BYTES, Publication};

/// A commit or a tag that is longer is none.
const SHORT_MAX_BYTES: usize = 1024;

/// A metadata file, with everything in it that is not ours.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Metadata(Map<String, Value>);

impl Metadata {
    /// Reads the file; the error says what is wrong with it. `{}` says nothing.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let map = json::object(bytes)?;
        json::check_spelling(&map, &["requires", "size", "sha256"])?;
        let said = |key: &str| map.get(key).filter(|value| !value.is_null());
        for key in ["version", "product", "chip", "sha256"] {
            if let Some(value) = said(key).filter(|value| !value.is_string()) {
                return Err(format!("{key} is {}, not text", first_line(&value.to_string())));
            }
        }
        if let Some(value) = said("size").filter(|value| !value.is_u64()) {
            return Err(format!("size is {}, not a number of bytes", first_line(&value.to_string())));
        }
        let metadata = Self(map);
        match metadata.text("sha256") {
            Some(text) if metadata.sha256().is_none() => {
                Err(format!("sha256 is {:?}, not 64 hexadecimal digits", first_line(text)))
            }
            _ => Ok(metadata),
        }
    }

    /// The file as it was read. What is not there says nothing.
    pub(crate) fn of_read(read: &Read) -> Result<Self, String> {
        match read {
            Read::Found(found) => Self::parse(&found.bytes),
            Read::TooLong(found) => Err(format!("it has {} bytes", found.size)),
            Read::Missing => Ok(Self::default()),
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

    /// What it says, and what is the case, where it speaks of another image than that of this version and size.
    pub(crate) fn contradiction(&self, version: &Version, size: u64) -> Option<[String; 2]> {
        let limits = ["size", "sha256", "requires"];
        if let Some(says) = self.other_version(version)
            && limits.iter().any(|key| self.0.get(*key).is_some_and(|value| !value.is_null()))
        {
            return Some([format!("version {says}"), format!("version {version}")]);
        }
        let says = self.0.get("size").and_then(Value::as_u64).filter(|says| *says != size)?;
        Some([format!("{says} bytes"), format!("{size} bytes")])
    }

    /// The version that it is about, if that is another one. A script may never write the file anew; where it limits nothing,
    /// nothing is lost with it.
    pub(crate) fn other_version(&self, version: &Version) -> Option<Version> {
        self.version().filter(|says| says != version)
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

    fn parsed(text: &str) -> Metadata {
        Metadata::parse(text.as_bytes()).expect(text)
    }

    #[test]
    fn metadata_of_another_image_is_not_believed() {
        let version = "1.2.0".parse().expect("a version");
        for text in [
            "{}",
            r#"{"version":"v1.2.0","size":7}"#,
            r#"{"version":"","size":null,"sha256":""}"#,
            r#"{"version":"1.1.0"}"#,
        ] {
            assert_eq!(parsed(text).contradiction(&version, 7), None, "{text}");
        }
        for (text, says) in
            [(r#"{"version":"1.1.0","size":7}"#, "version 1.1.0"), (r#"{"size":8}"#, "8 bytes")]
        {
            let [said, _] = parsed(text).contradiction(&version, 7).expect(text);
            assert_eq!(said, says, "{text}");
        }
    }

    #[test]
    fn metadata_that_cannot_be_read_is_no_metadata_that_says_nothing() {
        for (text, why) in [
            ("", "empty"),
            ("<html><body>404</body></html>", "not a JSON object"),
            (r#"{"requires":"1.0.0""#, "EOF"),
            (r#"{"requires":"1.0.0","requires":"0.1.0"}"#, "stands twice"),
            (r#"{"Requires":"1.0.0"}"#, "is written \"requires\""),
            (r#"{"version":7}"#, "version is 7, not text"),
            (r#"{"size":"7"}"#, "not a number of bytes"),
            (r#"{"size":-7}"#, "not a number of bytes"),
            (r#"{"sha256":"abc"}"#, "64 hexadecimal digits"),
            (r#"{"sha256":["abc"]}"#, "not text"),
            (r#"{"chip":{}}"#, "not text"),
        ] {
            let error = Metadata::parse(text.as_bytes()).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
        // What is only shown limits nothing.
        assert_eq!(parsed(r#"{"notes":7,"dirty":"yes","commit":[]}"#).notes(), None);
    }

    #[test]
    fn a_requirement_that_is_no_version_is_not_overlooked() {
        assert_eq!(parsed("{}").requires(), Ok(None));
        assert_eq!(parsed(r#"{"requires":null}"#).requires(), Ok(None));
        assert!(parsed(r#"{"requires":"1.0.0"}"#).requires().expect("a version").is_some());
        assert!(parsed(r#"{"requires":"1.x"}"#).requires().is_err());
        assert!(parsed(r#"{"requires":["1.0.0"]}"#).requires().is_err());
    }

    fn read(bytes: &[u8]) -> Option<Metadata> {
        let metadata = Metadata::parse(bytes).ok()?;
        let _ = (metadata.version(), metadata.sha256(), metadata.time("built_at"), metadata.requires());
        Some(metadata)
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            read(&bytes);
            let _ = crate::releases::product::ProductFile::parse(&bytes);
        }

        #[test]
        fn any_values_are_read_without_panic(key in "version|size|sha256|chip|built_at|requires|notes",
                                             value in "null|true|-1|1e99|\"[0-9a-z.:TZ-]{0,30}\"|\\[\\]|\\{\\}") {
            if let Some(metadata) = read(format!("{{\"{key}\":{value}}}").as_bytes()) {
                prop_assert_eq!(Metadata::parse(&metadata.to_bytes()), Ok(metadata));
            }
        }
    }
}
