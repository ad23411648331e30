//! How a virtual device is to behave once it runs an image: a data segment of its own, which real chips load
//! and never look at. An image without it is healthy.

#![allow(clippy::cast_possible_truncation, reason = "only constants below 256 are cast")]

use core::fmt;
use core::str::FromStr;

use crate::header::{HEADER_BYTES, Header, SEGMENT_HEADER_BYTES, SegmentHeader};

/// Random, so that no compiler's output begins a segment with it.
pub(crate) const DEMO_MAGIC: [u8; 16] = *b"updraft demo\x9c\x1b\xe4\x57";
pub(crate) const VERSION_MAX_BYTES: usize = 64;
/// Magic, behaviour, length of the version, the version, and two bytes that make whole words.
pub(crate) const DEMO_BYTES: usize = 16 + 1 + 1 + VERSION_MAX_BYTES + 2;

/// What a virtual device does when it runs an image; numbered as the segment has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Behaviour {
    /// It starts, reaches the network and confirms itself.
    #[default]
    Healthy,
    /// It crashes at once, at every boot.
    CrashesAtBoot,
    /// It runs and never reaches the network, so it never confirms itself.
    NeverReachesNetwork,
    /// It confirms itself and crashes a moment later, and so at every boot from then on.
    CrashesLater,
}

impl Behaviour {
    const ALL: [Self; 4] =
        [Self::Healthy, Self::CrashesAtBoot, Self::NeverReachesNetwork, Self::CrashesLater];

    /// The name on the command line and in JSON: `crashes-at-boot`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::CrashesAtBoot => "crashes-at-boot",
            Self::NeverReachesNetwork => "never-reaches-network",
            Self::CrashesLater => "crashes-later",
        }
    }
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The name is that of no behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownBehaviour;

impl fmt::Display for UnknownBehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a behaviour is healthy, crashes-at-boot, never-reaches-network or crashes-later")
    }
}

impl core::error::Error for UnknownBehaviour {}

impl FromStr for Behaviour {
    type Err = UnknownBehaviour;

    fn from_str(name: &str) -> Result<Self, UnknownBehaviour> {
        Self::ALL.into_iter().find(|behaviour| behaviour.name() == name).ok_or(UnknownBehaviour)
    }
}

/// What a demonstration image says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demo {
    behaviour: Behaviour,
    version: [u8; VERSION_MAX_BYTES],
    version_bytes: u8,
}

impl Demo {
    /// Makes one; a version longer than 64 bytes is cut.
    pub fn new(version: &str, behaviour: Behaviour) -> Self {
        let mut end = version.len().min(VERSION_MAX_BYTES);
        while !version.is_char_boundary(end) {
            end -= 1;
        }
        let mut bytes = [0; VERSION_MAX_BYTES];
        bytes[..end].copy_from_slice(&version.as_bytes()[..end]);
        Self { behaviour, version: bytes, version_bytes: end as u8 }
    }

    /// What a virtual device does when it runs the image.
    pub fn behaviour(&self) -> Behaviour {
        self.behaviour
    }

    /// The image's version.
    pub fn version(&self) -> &str {
        let text = self.version.get(..usize::from(self.version_bytes)).unwrap_or_default();
        core::str::from_utf8(text).unwrap_or_default()
    }

    /// The segment's data.
    #[cfg(feature = "build")]
    pub(crate) fn to_bytes(self) -> [u8; DEMO_BYTES] {
        let mut bytes = [0; DEMO_BYTES];
        bytes[..16].copy_from_slice(&DEMO_MAGIC);
        bytes[16] = self.behaviour as u8;
        bytes[17] = self.version_bytes;
        bytes[18..18 + VERSION_MAX_BYTES].copy_from_slice(&self.version);
        bytes
    }

    /// Reads the beginning of a segment's data; `None` if it is any other segment.
    pub(crate) fn parse(data: &[u8]) -> Option<Self> {
        let bytes = data.first_chunk::<DEMO_BYTES>()?;
        let behaviour = Behaviour::ALL.into_iter().find(|behaviour| *behaviour as u8 == bytes[16])?;
        let version_bytes = bytes[17];
        if bytes[..16] != DEMO_MAGIC || usize::from(version_bytes) > VERSION_MAX_BYTES {
            return None;
        }
        let mut version = [0; VERSION_MAX_BYTES];
        version.copy_from_slice(&bytes[18..18 + VERSION_MAX_BYTES]);
        core::str::from_utf8(version.get(..usize::from(version_bytes))?).ok()?;
        Some(Self { behaviour, version, version_bytes })
    }

    /// Finds it in an image that lies in flash, by reading the segment headers only: at most 34 reads.
    ///
    /// `read` fills the buffer from an offset in the image; it must refuse what lies outside. Whatever is no
    /// image, or has no such segment, gives `None`.
    pub fn find<E>(mut read: impl FnMut(u32, &mut [u8]) -> Result<(), E>) -> Result<Option<Self>, E> {
        let mut header = [0; HEADER_BYTES];
        read(0, &mut header)?;
        let Ok(header) = Header::parse(&header) else { return Ok(None) };
        let mut offset = HEADER_BYTES as u32;
        for index in 0..header.segment_count {
            let mut segment = [0; SEGMENT_HEADER_BYTES];
            read(offset, &mut segment)?;
            let Ok(segment) = SegmentHeader::parse(segment, index) else { return Ok(None) };
            // At most 16 segments of less than 16 MiB: no overflow.
            offset += SEGMENT_HEADER_BYTES as u32;
            if segment.length_bytes as usize >= DEMO_BYTES {
                let mut data = [0; DEMO_BYTES];
                read(offset, &mut data)?;
                if let Some(demo) = Self::parse(&data) {
                    return Ok(Some(demo));
                }
            }
            offset += segment.length_bytes;
        }
        Ok(None)
    }
}
