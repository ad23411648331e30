//! Names that refuse bad input: device ids, products and channels.

use core::fmt;
use core::ops::Deref;
use core::str::FromStr;

use heapless::String;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Why a name was refused; `Display` says which letters and length are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidName {
    /// Not a device id.
    Device,
    /// Not a product name.
    Product,
    /// Not a channel name.
    Channel,
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device => "a device id is 1 to 64 letters, digits, '.', '_', ':' or '-', and begins with a letter or digit",
            Self::Product => {
                "a product name is 1 to 63 lower-case letters, digits, '_' or '-', and begins with a letter or digit"
            }
            Self::Channel => {
                "a channel name is 1 to 63 lower-case letters, digits, '_' or '-', begins with a letter or digit, \
                 and is none of \"releases\", \"rollback\" and \"deltas\""
            }
        })
    }
}

impl core::error::Error for InvalidName {}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $max:literal, $error:expr, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String<$max>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let valid: fn(&str) -> bool = $valid;
                if !valid(text) {
                    return Err($error);
                }
                String::try_from(text).map(Self).map_err(|_| $error)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidName;

            fn try_from(text: &str) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::<$max>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

name! {
    /// A device's id: `[A-Za-z0-9][A-Za-z0-9._:-]{0,63}`; also its MQTT user name.
    DeviceId, 64, InvalidName::Device,
    |text| matches(text, |b| b.is_ascii_alphanumeric(), |b| b.is_ascii_alphanumeric() || b"._:-".contains(&b))
}

name! {
    /// A product, a family of devices that run the same images: `[a-z0-9][a-z0-9_-]{0,62}`.
    ProductName, 63, InvalidName::Product, |text| matches(text, lower, |b| lower(b) || b"_-".contains(&b))
}

name! {
    /// A channel, a named pointer to a release ("production", "beta"): spelled like a product, and never one
    /// of the folders that hold something else beside the channels.
    ChannelName, 63, InvalidName::Channel,
    |text| {
        matches(text, lower, |b| lower(b) || b"_-".contains(&b)) && !matches!(text, "releases" | "rollback" | "deltas")
    }
}

impl ChannelName {
    /// The channel that OTA.md knows: what is deployed now.
    pub fn production() -> Self {
        "production".parse().expect("\"production\" is a channel name")
    }
}

fn lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn matches(text: &str, first: impl Fn(u8) -> bool, rest: impl Fn(u8) -> bool) -> bool {
    match text.as_bytes() {
        [head, tail @ ..] => first(*head) && tail.iter().all(|b| rest(*b)),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_ids_refuse_topic_wildcards_and_slashes() {
        for bad in ["", "+", "#", "a/b", "-a", ".a", "a b", "ü", "a\n", "a\0"] {
            assert_eq!(bad.parse::<DeviceId>(), Err(InvalidName::Device), "{bad:?}");
        }
        for good in ["a", "A.b_c:d-e", "24:6f:28:aa:bb:cc"] {
            assert_eq!(good.parse::<DeviceId>().expect("a good id").as_str(), good);
        }
    }

    #[test]
    fn lengths_are_bounded_exactly() {
        extern crate std;
        assert!("a".repeat(64).parse::<DeviceId>().is_ok());
        assert!("a".repeat(65).parse::<DeviceId>().is_err());
        assert!("a".repeat(63).parse::<ProductName>().is_ok());
        assert!("a".repeat(64).parse::<ProductName>().is_err());
    }

    #[test]
    fn channels_never_shadow_other_folders() {
        for bad in ["releases", "rollback", "deltas", "Production", "..", "a/b"] {
            assert_eq!(bad.parse::<ChannelName>(), Err(InvalidName::Channel), "{bad}");
        }
        assert_eq!(ChannelName::production().as_str(), "production");
    }
}
