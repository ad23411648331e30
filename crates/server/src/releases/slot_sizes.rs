//! Which sizes a slot can have.

use std::ops::RangeInclusive;

/// Partitions for applications lie on borders of 64 KiB, so that no slot is smaller, and no flash that these chips run from
/// has more than 16 MiB: a device that reports anything else is wrong, and must not keep every image from being published.
pub(crate) const SLOT_SIZES: RangeInclusive<u32> = 0x1_0000..=0x100_0000;
