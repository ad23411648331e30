//! What an attempt to update keeps in memory, from its trigger to its outcome: the URL, what its path says, and how far it is.
//! What outlives a restart is the record's.

use contract::Version;
use heapless::Vec;

use crate::http;
use crate::port::URL_MAX_BYTES;
use crate::refusal::{Refusal, refuse};

/// Where the file is. A secret.
#[derive(Debug)]
pub(crate) struct TriggerUrl {
    /// Of the path in the trigger, which a redirect does not change. Nothing depends on it: where two paths share a tag,
    /// `If-Range` tells the files apart.
    pub(crate) path_tag: u32,
    /// The version that the trigger's path names.
    pub(crate) named: Option<Version>,
    /// Looked at by [`http::Url`]'s rules, so ASCII.
    pub(crate) bytes: Vec<u8, URL_MAX_BYTES>,
}

impl TriggerUrl {
    pub(crate) const fn none() -> Self {
        Self { path_tag: 0, named: None, bytes: Vec::new() }
    }

    /// Takes a trigger in place of the one before; after an error the one before stays.
    #[inline(never)]
    pub(crate) fn take(&mut self, payload: &[u8]) -> Result<(), Refusal> {
        let url = payload.trim_ascii();
        if http::check(url).is_err() {
            return refuse!(NotAUrl);
        }
        self.bytes.clear();
        // It was looked at, and fits.
        let _ = self.bytes.extend_from_slice(url);
        self.path_tag = path_tag(url);
        self.named = version_in(url);
        Ok(())
    }
}

/// Tells paths apart (FNV-1a).
fn path_tag(url: &[u8]) -> u32 {
    let path = url.iter().take_while(|byte| **byte != b'?');
    path.fold(0x811C_9DC5, |tag, byte| (tag ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// The version in `…/releases/v{version}/firmware.bin`, where a URL has that form. In bytes: what `str` brings along to
/// search text is larger than all of this.
fn version_in(url: &[u8]) -> Option<Version> {
    const FOLDER: &[u8] = b"/releases/v";
    let path = url.split(|byte| matches!(byte, b'?' | b'#')).next()?;
    let folder = path.strip_suffix(b"/firmware.bin")?;
    let name = folder.iter().rposition(|byte| *byte == b'/')?;
    let rest = folder.get((name + 2).checked_sub(FOLDER.len())?..)?.strip_prefix(FOLDER)?;
    let mut version = Vec::<u8, { contract::VERSION_MAX_BYTES + 1 }>::new();
    let mut bytes = rest.iter();
    while let Some(byte) = bytes.next() {
        // Build metadata is the one part of a version that URLs may encode.
        let letter = match byte {
            b'%' => match (bytes.next()?, bytes.next()?) {
                (b'2', b'B' | b'b') => b'+',
                _ => return None,
            },
            byte => *byte,
        };
        version.push(letter).ok()?;
    }
    // A folder of any other name is no release's.
    Version::from_bytes(&version).ok().filter(|version| !version.is_opaque())
}

/// Which part of the file a fetch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asking {
    /// Its end, to judge it by before anything is erased.
    Tail,
    /// All of it, from where the download is.
    Image,
}

#[derive(Debug)]
pub(crate) struct AttemptState {
    pub(crate) asking: Asking,
    /// Redirects followed from the last trigger's URL.
    pub(crate) redirects: u8,
    /// Lost connections that nothing received since made up for.
    pub(crate) retries: u8,
    pub(crate) url_requests: u8,
    /// Whether the record and otadata are such that the slot may be erased.
    pub(crate) ready: bool,
    /// The most that was received of any file.
    pub(crate) furthest: u32,
    /// What the connection brought since it was last judged by that.
    pub(crate) pace_bytes: u32,
    pub(crate) to: Option<Version>,
}

impl AttemptState {
    pub(crate) const NEW: Self = Self {
        asking: Asking::Tail,
        redirects: 0,
        retries: 0,
        url_requests: 0,
        ready: false,
        furthest: 0,
        pace_bytes: 0,
        to: None,
    };
}

#[cfg(test)]
mod tests {
    use super::version_in;
    use heapless::String;

    #[test]
    fn only_the_path_of_a_release_names_a_version() {
        let version = |url: &str| {
            version_in(url.as_bytes()).map(|version| String::<64>::try_from(version.as_str()).ok())
        };
        let known = |text: &str| Some(String::<64>::try_from(text).ok());
        assert_eq!(version("http://h/firmware/p/releases/v1.2.0/firmware.bin?expires=1"), known("1.2.0"));
        assert_eq!(version("https://b.s3/p/releases/v1.2.0%2Bb/firmware.bin"), known("1.2.0+b"));
        for other in [
            "http://h/p/production/firmware.bin",
            "http://h/d/abc",
            "http://h/releases/various/firmware.bin",
            "http://h/p/releases/v1.2.0/other.bin",
            "http://h/x?y=/releases/v1.2.0/firmware.bin",
            "",
        ] {
            assert_eq!(version(other), None, "{other}");
        }
    }
}
