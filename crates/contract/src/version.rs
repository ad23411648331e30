//! Release versions: SemVer 2.0.0 with a bounded length and no allocation.

use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::str::FromStr;

use heapless::String;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A version has at most so many bytes.
pub const VERSION_MAX_BYTES: usize = 64;
/// The highest number that a part of the triple may be.
const U64_MAX: &[u8] = b"18446744073709551615";

/// The text is not a SemVer version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidVersion;

impl fmt::Display for InvalidVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a version is SemVer, such as 1.2.0 or 1.2.0-rc.1, and at most 64 bytes long")
    }
}

impl core::error::Error for InvalidVersion {}

/// A SemVer 2.0.0 version ([semver.org](https://semver.org)).
///
/// `Ord`, `Eq` and `Hash` follow precedence, which ignores build metadata: `1.0.0+a == 1.0.0+b`.
/// Parsing tolerates surrounding white space and one leading `v`; printing is canonical.
#[derive(Clone)]
pub struct Version {
    text: String<VERSION_MAX_BYTES>,
}

impl Version {
    /// Reads the canonical text, without white space and without a leading `v`.
    #[inline(never)]
    pub fn from_bytes(text: &[u8]) -> Result<Self, InvalidVersion> {
        if text.len() > VERSION_MAX_BYTES || !is_version(text) {
            return Err(InvalidVersion);
        }
        let text = core::str::from_utf8(text).ok().and_then(|text| String::try_from(text).ok());
        text.map(|text| Self { text }).ok_or(InvalidVersion)
    }

    /// The canonical text, with build metadata, without a leading `v`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether this is a pre-release such as `1.2.0-rc.1`.
    pub fn is_prerelease(&self) -> bool {
        !self.parts().1.is_empty()
    }

    /// Major, minor and patch; and the pre-release without its hyphen, empty if there is none.
    fn parts(&self) -> ([u64; 3], &str) {
        let precedence = self.text.split_once('+').map_or(self.text.as_str(), |(head, _)| head);
        let (triple, pre) = precedence.split_once('-').unwrap_or((precedence, ""));
        let mut numbers = [0; 3];
        for (number, text) in numbers.iter_mut().zip(triple.split('.')) {
            *number = text.parse().unwrap_or(u64::MAX);
        }
        (numbers, pre)
    }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let text = text.trim();
        Self::from_bytes(text.strip_prefix('v').unwrap_or(text).as_bytes())
    }
}

/// In bytes: what `str` brings along to search text is larger than all of this.
fn is_version(text: &[u8]) -> bool {
    let (rest, build) = split(text, b'+');
    let (triple, pre) = split(rest, b'-');
    let is_dot = |byte: &u8| *byte == b'.';
    let mut numbers = 0;
    let is_triple = triple.split(is_dot).all(|number| {
        numbers += 1;
        is_number(number)
            && (number.len() < U64_MAX.len() || (number.len() == U64_MAX.len() && number <= U64_MAX))
    });
    let is_pre = |id: &[u8]| is_identifier(id) && (is_number(id) || !id.iter().all(u8::is_ascii_digit));
    is_triple
        && numbers == 3
        && pre.is_none_or(|pre| pre.split(is_dot).all(is_pre))
        && build.is_none_or(|build| build.split(is_dot).all(is_identifier))
}

/// Splits at the first `mark`.
fn split(text: &[u8], mark: u8) -> (&[u8], Option<&[u8]>) {
    let at = text.iter().position(|byte| *byte == mark).unwrap_or(text.len());
    (text.get(..at).unwrap_or_default(), text.get(at + 1..))
}

fn is_number(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_digit) && matches!(text, [b'0'] | [b'1'..=b'9', ..])
}

fn is_identifier(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((left, left_pre), (right, right_pre)) = (self.parts(), other.parts());
        left.cmp(&right).then_with(|| match (left_pre, right_pre) {
            ("", "") => Ordering::Equal,
            ("", _) => Ordering::Greater,
            (_, "") => Ordering::Less,
            (left, right) => compare_prerelease(left, right),
        })
    }
}

fn compare_prerelease(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        return match (left.next(), right.next()) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(left), Some(right)) => match compare_identifier(left, right) {
                Ordering::Equal => continue,
                other => other,
            },
        };
    }
}

/// Numbers compare by value and come before words; numbers of any length compare without overflow, since a
/// valid one has no leading zero.
fn compare_identifier(left: &str, right: &str) -> Ordering {
    let number = |id: &str| id.bytes().all(|b| b.is_ascii_digit());
    match (number(left), number(right)) {
        (true, true) => left.len().cmp(&right.len()).then_with(|| left.cmp(right)),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => left.cmp(right),
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        // Canonical text has one spelling of each precedence.
        split(self.text.as_bytes(), b'+').0 == split(other.text.as_bytes(), b'+').0
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Room for the white space and the leading "v" that parsing tolerates.
        let text = String::<{ VERSION_MAX_BYTES + 8 }>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::String as StdString;

    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().expect("a version")
    }

    #[test]
    fn white_space_and_a_leading_v_are_tolerated_once() {
        assert_eq!(version(" v1.2.0\r\n").as_str(), "1.2.0");
        assert!("vv1.2.0".parse::<Version>().is_err());
        assert!("v 1.2.0".parse::<Version>().is_err());
    }

    #[test]
    fn precedence_is_that_of_the_specification() {
        let ordered = [
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.1",
            "1.1.0",
            "2.0.0",
        ];
        for pair in ordered.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
        assert_eq!(version("1.0.0+a"), version("1.0.0+b"));
    }

    proptest! {
        #[test]
        fn versions_agree_with_the_semver_crate(left in "[0-9]{1,2}\\.[0-9]\\.[0-9](-[0-9a-c.-]{0,6})?(\\+[0-9a-c.]{0,4})?",
                                        right in "[0-9]{1,2}\\.[0-9]\\.[0-9](-[0-9a-c.-]{0,6})?") {
            let ours = (left.parse::<Version>(), right.parse::<Version>());
            let theirs = (semver::Version::parse(&left), semver::Version::parse(&right));
            prop_assert_eq!(ours.0.is_ok(), theirs.0.is_ok());
            prop_assert_eq!(ours.1.is_ok(), theirs.1.is_ok());
            if let ((Ok(a), Ok(b)), (Ok(x), Ok(y))) = (ours, theirs) {
                prop_assert_eq!(a.cmp(&b), x.cmp_precedence(&y));
                prop_assert_eq!(StdString::from(a.as_str()), left);
            }
        }

        #[test]
        fn any_text_is_parsed_or_refused_as_the_semver_crate_does(text in "[0-9a-c.+v-]{0,20}") {
            let trimmed = text.strip_prefix('v').unwrap_or(&text);
            prop_assert_eq!(text.parse::<Version>().is_ok(), semver::Version::parse(trimmed).is_ok());
        }
    }
}
