//! Which messages of a device at QoS 1 were taken: one whose acknowledgement was lost with its connection comes again, maybe in
//! a new session, and must not be heard again.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU16;
use std::time::Instant;

use crate::limits::{MAX_REPEATED, REPEATED_FOR};
use crate::message::Message;

/// The last [`MAX_REPEATED`] of a device.
#[derive(Default)]
pub(crate) struct Repeats {
    taken: VecDeque<(u64, Instant)>,
}

/// A message, as one that is repeated is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark(u64);

impl Mark {
    pub(crate) fn of(hasher: &RandomState, id: NonZeroU16, message: &Message) -> Self {
        Self(hasher.hash_one((id, &*message.topic, &message.payload)))
    }
}

impl Repeats {
    /// A device that starts anew counts its messages anew, so that an old one may look the same.
    pub(crate) fn has(&self, mark: Mark, now: Instant) -> bool {
        self.taken.iter().any(|(taken, at)| *taken == mark.0 && !is_old(*at, now))
    }

    pub(crate) fn note(&mut self, mark: Mark, now: Instant) {
        self.taken.truncate(MAX_REPEATED - 1);
        self.taken.push_front((mark.0, now));
    }

    /// Whether there is nothing to be remembered.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.taken.front().is_none_or(|(_, last)| is_old(*last, now))
    }
}

fn is_old(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) >= REPEATED_FOR
}
