//! What a port tells the agent: the chip, where its record lies, and how long to wait for what.

use contract::{ProductName, Version};
use image::Chip;

use crate::partition::Partition;

/// The longest URL taken, in bytes.
pub const URL_MAX_BYTES: usize = 2048;

/// What must have happened before a new image is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The broker was reached.
    Broker,
    /// The broker was reached and the application said that it is well.
    BrokerAndApplication,
}

/// Why the device restarted, as far as the port can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetReason {
    /// Power came on; also a cut, or a person who unplugged a device that hung.
    PowerOn,
    /// The software asked for it.
    Software,
    /// A crash.
    Panic,
    /// A watchdog.
    Watchdog,
    /// The supply sagged.
    BrownOut,
    /// The port cannot tell.
    Unknown,
}

impl ResetReason {
    /// As the report spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PowerOn => "power_on",
            Self::Software => "software",
            Self::Panic => "panic",
            Self::Watchdog => "watchdog",
            Self::BrownOut => "brown_out",
            Self::Unknown => "unknown",
        }
    }

    /// Whether a roll-back seen at this boot says something against the image; after a mere power cut it does not.
    pub(crate) const fn blames_the_image(self) -> bool {
        !matches!(self, Self::PowerOn | Self::BrownOut)
    }
}

/// How the agent works on this device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Images for any other chip are refused.
    pub chip: Chip,
    /// What the device takes itself for.
    pub product: Option<ProductName>,
    /// The version that the application was compiled with, for an image that does not say it itself (Arduino's do not)
    /// and came by a URL that did not either.
    pub version: Option<Version>,
    /// Why the device restarted.
    pub reset: ResetReason,
    /// At least two sectors for the record; without them `last` and quarantine do not outlive a restart.
    pub record: Option<Partition>,
    /// What confirms a new image.
    pub check: Check,
    /// How long a new image has to confirm itself, in milliseconds.
    pub self_test_ms: u32,
    /// How long a connection may be silent, in milliseconds.
    pub stall_ms: u32,
    /// The first pause before a download goes on, in milliseconds; it doubles each time, up to a minute, and up to a
    /// quarter of this comes on top.
    pub back_off_ms: u32,
    /// How often a download goes on after a lost connection, before it is given up. 64 KiB that were never received
    /// before make up for one.
    ///
    /// With what [`Self::new`] sets, a connection that is lost for good and refused at once is given up after 31 s
    /// (1, 2, 4, 8 and 16) and at most 1.25 s of jitter; one that hangs, after 6 stalls more, 213 s in all.
    pub retries: u8,
    /// How long to wait for a fresh URL before it is asked for again, in milliseconds.
    pub url_wait_ms: u32,
    /// How often a fresh URL is asked for in one update.
    pub url_requests: u8,
    /// How long a restart waits for the last message to be acknowledged, in milliseconds.
    pub farewell_ms: u32,
}

impl Settings {
    /// What suits a device in the field.
    pub const fn new(chip: Chip) -> Self {
        Self {
            chip,
            product: None,
            version: None,
            reset: ResetReason::Unknown,
            record: None,
            check: Check::Broker,
            self_test_ms: 60_000,
            stall_ms: 30_000,
            back_off_ms: 1_000,
            retries: 5,
            url_wait_ms: 60_000,
            url_requests: 5,
            farewell_ms: 2_000,
        }
    }
}
