//! `product.json`: the settings of a product. A person writes it, and what it limits must not be lost to a slip of the
//! pen, so that wrong types and unknown settings of the gate are errors.

use cause::store as causes;
use contract::{ProductName, Sha256, Version};
use serde_json::Map;

use crate::error::StoreError;
use crate::json;
use crate::objects::explain::first_line;
use crate::objects::object::Read;
use crate::objects::write::{Condition, Write};
use crate::releases::gate::facts::GateSettings;
use crate::releases::layout::{self, JSON_MAX_BYTES};
use crate::store::Store;

/// Maximum attempts to write the file. Each that is lost is another writer's win.
const SWAPS_MAX: u32 = 200;

/// What is known of a product.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ProductFile {
    /// The chip that its images are for; `None` until there is one.
    pub(crate) chip: Option<String>,
    /// The smallest slot of its devices, in bytes, where somebody said so.
    pub(crate) slot_bytes: Option<u32>,
    /// SHA-256 digests of the keys whose signatures count.
    pub(crate) trusted_keys: Vec<Sha256>,
    /// So many of these keys must have signed, 1 to 3; 0 where nobody said so, which is 1.
    pub(crate) signatures_required: u8,
    /// No image with a lower secure version is published.
    pub(crate) secure_version: u32,
    /// How the gate judges its images.
    pub(crate) gate: GateSettings,
}

/// What is read of the file. All else in it is somebody else's, and survives.
const KEYS: [&str; 6] =
    ["chip", "slot_bytes", "trusted_keys", "signatures_required", "secure_version", "gate"];

impl ProductFile {
    /// Reads `product.json`; the error says what is wrong.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let map = json::object(bytes)?;
        json::check_spelling(&map, &KEYS)?;
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
        let number = |key: &str| match said(key) {
            None => Ok(None),
            Some(value) => match value.as_u64().and_then(|number| u32::try_from(number).ok()) {
                Some(number) => Ok(Some(number)),
                None => Err(format!("{key} is {value}, not a number")),
            },
        };
        let signatures_required = match number("signatures_required")? {
            None => 0,
            Some(1) => 1,
            Some(2) => 2,
            Some(3) => 3,
            Some(other) => return Err(format!("signatures_required is {other}, not a number from 1 to 3")),
        };
        if usize::from(signatures_required) > trusted_keys.len() {
            let keys = trusted_keys.len();
            return Err(format!(
                "signatures_required is {signatures_required}, and trusted_keys has {keys} keys"
            ));
        }
        let secure_version = number("secure_version")?.unwrap_or(0);
        let gate = said("gate").map_or_else(|| Ok(GateSettings::default()), GateSettings::parse)?;
        Ok(Self { chip, slot_bytes, trusted_keys, signatures_required, secure_version, gate })
    }
}

impl Store {
    /// What `product.json` says, and nothing else.
    pub(crate) async fn product_json(&self, product: &ProductName) -> Result<ProductFile, StoreError> {
        let key = layout::product(product);
        let file = match self.bucket.read_small(&key, JSON_MAX_BYTES).await? {
            Read::Missing => return Ok(ProductFile::default()),
            Read::TooLong(found) => Err(format!("it has {} bytes", found.size)),
            Read::Found(fetched) => ProductFile::parse(&fetched.bytes),
        };
        file.map_err(|why| {
            let cause = causes::PRODUCT_UNREADABLE.with("key", key).with("why", first_line(&why));
            StoreError::corrupt(cause.with("place", self.bucket.name()))
        })
    }
}

impl Store {
    /// Lets the gate take no image of a product any more unless its secure version is higher than that of a published version, and
    /// answers the lowest one that it takes: kept in `product.json`, of which nothing else is changed.
    #[crate::boxed]
    pub async fn raise_secure_version(
        &self,
        product: &ProductName,
        above: &Version,
    ) -> Result<u32, StoreError> {
        let no_release = || causes::NO_RELEASE.naming("product", product).naming("version", above);
        let complete = self.find_complete(product, above).await?;
        let complete = complete.ok_or_else(|| StoreError::NotFound(no_release()))?;
        let firmware = self.bucket.find(&complete.place.firmware()).await?;
        let firmware = firmware.ok_or_else(|| StoreError::NotFound(no_release()))?;
        let descriptor = self.prefix(&firmware).await?.and_then(|prefix| prefix.descriptor);
        let floor = descriptor.map_or(0, |descriptor| descriptor.secure_version()).saturating_add(1);
        let key = layout::product(product);
        let swap = async |lock| {
            let before = self.product_json(product).await?;
            if before.secure_version >= floor {
                return Ok(Some(before.secure_version));
            }
            let read = self.bucket.read(&key, JSON_MAX_BYTES).await?;
            let mut map = match &read {
                Read::Found(found) => json::object(&found.bytes).map_err(|why| {
                    StoreError::corrupt(
                        causes::PRODUCT_UNREADABLE.with("key", &*key).with("why", first_line(&why)),
                    )
                })?,
                _ => Map::new(),
            };
            map.insert("secure_version".to_owned(), floor.into());
            let mut bytes = serde_json::to_vec_pretty(&map).expect("a map of JSON values is JSON");
            bytes.push(b'\n');
            let write = Write::new(&key, bytes.into(), Condition::unchanged(&read));
            Ok(self.bucket.put(&lock, write).await?.map(|_| floor))
        };
        let changed =
            || StoreError::corrupt(causes::LIST_CHANGED.with("key", &*key).with("attempts", SWAPS_MAX));
        self.bucket.in_rounds(&key, SWAPS_MAX, swap).await?.ok_or_else(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Check;

    #[test]
    fn a_product_file_with_wrong_types_is_an_error() {
        assert_eq!(ProductFile::parse(b"{}"), Ok(ProductFile::default()));
        let file = ProductFile::parse(
            br#"{"chip":"esp32s3","slot_bytes":1048576,"other":1,"gate":{"allow":["descriptor"],"warn_percent":80}}"#,
        )
        .expect("readable");
        assert_eq!((file.chip.as_deref(), file.slot_bytes), (Some("esp32s3"), Some(1_048_576)));
        assert_eq!(file.gate, GateSettings { allow: vec![Check::Descriptor], warn_percent: 80 });
        for (text, why) in [
            ("", "empty"),
            ("[]", "not a JSON object"),
            (r#"{"chip":"esp32","chip":"esp32s3"}"#, "stands twice"),
            (r#"{"chip":"z80"}"#, "not a chip's name"),
            (r#"{"slot_bytes":"1M"}"#, "not a number of bytes"),
            (r#"{"trusted_keys":["x"]}"#, "SHA-256"),
            (r#"{"trustedKeys":[]}"#, "is written"),
            (r#"{"signatures_required":0}"#, "1 to 3"),
            (r#"{"signatures_required":4}"#, "1 to 3"),
            (r#"{"signatures_required":"2"}"#, "not a number"),
            (r#"{"secureVersion":2}"#, "is written"),
            (r#"{"secure_version":-1}"#, "not a number"),
            (r#"{"gate":["descriptor"]}"#, "not an object"),
            (r#"{"gate":{"alow":[]}}"#, "no \"alow\""),
            (r#"{"gate":{"allow":["rong"]}}"#, "no check \"rong\""),
            (r#"{"gate":{"allow":["wrong-chip"]}}"#, "cannot be allowed"),
            (r#"{"gate":{"allow":"descriptor"}}"#, "not an array"),
            (r#"{"gate":{"warn_percent":0}}"#, "1 to 100"),
            (r#"{"gate":{"warn_percent":900}}"#, "1 to 100"),
        ] {
            let error = ProductFile::parse(text.as_bytes()).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
