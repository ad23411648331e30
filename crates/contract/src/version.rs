//! Versions, as people and their tools write them. `docs/decisions/versions.md` says why they are read so.

mod reading;
mod spelling;

use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::str::FromStr;

use heapless::String;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use spelling::VERSION_MAX_BYTES;

use reading::Reading;
use spelling::{spelled, trimmed};

/// The text names no version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidVersion;

impl fmt::Display for InvalidVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a version is one line of at most 64 bytes, such as 1.2.0 or 1.2.0-rc.1")
    }
}

impl core::error::Error for InvalidVersion {}

/// A version in its one spelling: SemVer where that has one ([semver.org](https://semver.org)), more than three numbers
/// (`1.2.3.4`), or an opaque name (`build-77`).
///
/// White space and quotes around it are passed over, and NULs behind it; so are a leading `v`, words in parentheses behind it, zeros before a
/// number, and zeros behind the third number. Missing numbers are 0. What `git describe` writes is later than its tag. What
/// reads in no such way is an opaque name: equal to the same name, and neither higher nor lower than anything.
///
/// `Eq` and `Hash` ignore build metadata: `1.0.0+a == 1.0.0+b`. `Ord` is total, for lists and maps; whether one version is
/// higher than another [`Self::compare`] tells.
#[derive(Clone)]
pub struct Version {
    text: String<VERSION_MAX_BYTES>,
}

impl Version {
    /// Reads a version in whatever spelling. Refused are an empty text, control characters, and what is too long.
    #[inline(never)]
    pub fn from_bytes(words: &[u8]) -> Result<Self, InvalidVersion> {
        let words = trimmed(words);
        if let Some(text) = spelled(words) {
            return Ok(Self { text });
        }
        if words.is_empty() || words.iter().any(u8::is_ascii_control) {
            return Err(InvalidVersion);
        }
        let name = core::str::from_utf8(words).ok().and_then(|name| String::try_from(name).ok());
        name.map(|text| Self { text }).ok_or(InvalidVersion)
    }

    /// Reads what a device says it runs: a version in any case, unless the first line is empty. Of a longer name it is the
    /// beginning, marked as such.
    pub fn said(words: &str) -> Option<Self> {
        let line = words.trim().split(char::is_control).next().unwrap_or_default();
        if let Ok(version) = line.parse() {
            return Some(version);
        }
        let line = core::str::from_utf8(trimmed(line.as_bytes())).ok().filter(|line| !line.is_empty())?;
        let end = line.floor_char_boundary(VERSION_MAX_BYTES - '…'.len_utf8());
        let mut text = String::try_from(line.get(..end)?).ok()?;
        text.push('…').ok()?;
        Some(Self { text })
    }

    /// The one spelling, with build metadata, without a leading `v`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What of the text counts: all but the build metadata. Equal versions have the same.
    pub fn precedence(&self) -> &str {
        let end = self.text.bytes().position(|byte| byte == b'+');
        let end = end.filter(|_| !self.is_opaque()).unwrap_or(self.text.len());
        self.text.get(..end).unwrap_or_default()
    }

    /// Which of two versions is higher; `None` where nobody can tell: one is an opaque name, or they are of different commits
    /// equally far from the same tag.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        if self == other {
            return Some(Ordering::Equal);
        }
        let (left, right) = (self.reading()?, other.reading()?);
        match left.compare(&right) {
            Ordering::Equal if !left.is_of_same_commit(&right) => None,
            order => Some(order.then(left.compare_builds(&right))),
        }
    }

    /// Whether it is known to be lower than another.
    pub fn is_below(&self, other: &Self) -> bool {
        self.compare(other) == Some(Ordering::Less)
    }

    /// Whether it is a name, which cannot be compared with others.
    pub fn is_opaque(&self) -> bool {
        spelled(self.text.as_bytes()).is_none()
    }

    /// Whether SemVer can say it, as whoever publishes must.
    pub fn is_semver(&self) -> bool {
        self.reading().is_some_and(|reading| reading.is_semver())
    }

    /// Whether it is no plain release: `1.2.0-rc.1`, `1.2.0-3-gabc1234`.
    pub fn is_prerelease(&self) -> bool {
        !self.is_opaque() && self.precedence().contains('-')
    }

    fn reading(&self) -> Option<Reading<'_>> {
        (!self.is_opaque()).then(|| Reading::of(self.precedence()))
    }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        Self::from_bytes(text.as_bytes())
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.reading(), other.reading()) {
            (Some(left), Some(right)) => left.compare(&right).then_with(|| left.compare_builds(&right)),
            (left, right) => left.is_some().cmp(&right.is_some()).then_with(|| self.text.cmp(&other.text)),
        }
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.precedence() == other.precedence()
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.precedence().hash(state);
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
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Version;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&InvalidVersion, f)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Version, E> {
                text.parse().map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests;
