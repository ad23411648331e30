//! What the agent remembers across restarts: the attempt under way, how the last one ended, which hash is which
//! version, which images failed here and which ran confirmed, and whose signatures count.
//!
//! Owned here: what is remembered, and for how many images; `record/bytes.rs` owns how it is written, and
//! `record/keeper.rs` where. Nothing in it is needed to boot: otadata alone decides that.
//!
//! With a record that is missing or corrupt the trusted keys are those compiled in, the secure version is that of the image that
//! runs, no image counts as having run here (so none is gone back to on that ground), and the quarantine is empty, as on a
//! device that was never updated.

mod bytes;
mod keeper;

use contract::{Outcome, Reason, Version};
use heapless::Vec;

pub use bytes::RECORD_BYTES;
pub use keeper::{Keeper, Place};

/// At most so many versions, images and keys of each kind are remembered; the oldest makes room.
pub const KEPT: usize = 4;

/// An image that failed so often, after boot or in verification, is refused.
pub(crate) const QUARANTINE_AT: u8 = 2;

/// How far an attempt had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The slot is being written.
    Downloading,
    /// Verified; otadata is to select it, or does.
    Selected,
    /// It runs and was not confirmed yet.
    Booted,
    /// Its self-test failed; the reason is in `last`.
    Rejected,
}

/// An attempt under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// How far it came.
    pub stage: Stage,
    /// Where the image goes.
    pub slot: u8,
    /// The image; zero until it was received.
    pub sha256: [u8; 32],
    /// Its version, if known.
    pub to: Option<Version>,
    /// How often the image, intact in its slot, was selected again by its hash after a cut had undone that.
    pub rearms: u8,
}

/// How the last attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    /// The version tried, if known.
    pub to: Option<Version>,
    /// How it ended.
    pub result: Outcome,
    /// Why.
    pub reason: Reason,
}

/// Which version an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The image.
    pub sha256: [u8; 32],
    /// Its version as it was published.
    pub version: Version,
}

/// How often an image failed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failures {
    /// The image.
    pub sha256: [u8; 32],
    /// After boot or in verification.
    pub count: u8,
}

/// Whom an image set up to be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusted {
    /// Digests of the keys whose signatures count; none: no signature does.
    pub keys: Vec<[u8; 32], KEPT>,
    /// So many of them must have signed.
    pub required: u8,
    /// The version of the image that set this up, if it says one itself.
    pub by: Option<Version>,
}

/// All that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The attempt under way.
    pub attempt: Option<Attempt>,
    /// How the last one ended.
    pub last: Option<Last>,
    /// Newest last.
    pub known: Vec<Known, KEPT>,
    /// Newest last.
    pub failures: Vec<Failures, KEPT>,
    /// The images that once ran confirmed here. Newest last.
    pub confirmed: Vec<[u8; 32], KEPT>,
    /// Whose signatures count; `None`: those of the keys that are compiled in.
    pub trusted: Option<Trusted>,
    /// The highest secure version of an image that ran confirmed here: none below it is taken.
    pub secure_version: u32,
    /// Whether the bootloader was seen to support rollback.
    pub rollback: Option<bool>,
}

impl Record {
    /// Of a device that remembers nothing.
    pub const fn new() -> Self {
        Self {
            attempt: None,
            last: None,
            known: Vec::new(),
            failures: Vec::new(),
            confirmed: Vec::new(),
            trusted: None,
            secure_version: 0,
            rollback: None,
        }
    }

    /// The version an image was published as.
    pub fn version_of(&self, sha256: &[u8; 32]) -> Option<&Version> {
        self.known.iter().find(|known| known.sha256 == *sha256).map(|known| &known.version)
    }

    /// Remembers a version; the oldest of four makes room.
    #[inline(never)]
    pub fn remember_version(&mut self, sha256: [u8; 32], version: Version) {
        let at = self.known.iter().position(|known| known.sha256 == sha256);
        put_newest(&mut self.known, at, Known { sha256, version });
    }

    /// How often an image failed here.
    pub fn failures_of(&self, sha256: &[u8; 32]) -> u8 {
        self.failures.iter().find(|failed| failed.sha256 == *sha256).map_or(0, |failed| failed.count)
    }

    pub(crate) fn count_failure(&mut self, sha256: [u8; 32]) {
        let count = self.failures_of(&sha256).saturating_add(1);
        let mut at = self.failures.iter().position(|failed| failed.sha256 == sha256);
        if at.is_none() && self.failures.is_full() {
            // One that failed once makes room; one in quarantine never does, or a few corrupt files would empty it.
            at = self.failures.iter().position(|failed| failed.count < QUARANTINE_AT);
            if at.is_none() {
                return;
            }
        }
        put_newest(&mut self.failures, at, Failures { sha256, count });
    }

    /// Whether an image once ran confirmed here, as far as is remembered.
    pub fn was_confirmed(&self, sha256: &[u8; 32]) -> bool {
        self.confirmed.contains(sha256)
    }

    /// Remembers an image that runs confirmed; the oldest of four makes room.
    pub fn confirm(&mut self, sha256: [u8; 32]) {
        let at = self.confirmed.iter().position(|confirmed| *confirmed == sha256);
        put_newest(&mut self.confirmed, at, sha256);
    }
}

/// Puts an item last, in place of the one at `at`, else of the oldest if there is no room.
#[inline(never)]
fn put_newest<T>(list: &mut Vec<T, KEPT>, at: Option<usize>, mut item: T) {
    let first = at.unwrap_or(if list.is_full() { 0 } else { KEPT });
    // Each one takes the place before it.
    for place in list.iter_mut().skip(first).rev() {
        core::mem::swap(place, &mut item);
    }
    if first == KEPT {
        let pushed = list.push(item).is_ok();
        debug_assert!(pushed, "there was room");
    }
}

#[cfg(test)]
mod tests;
