//! What a port gives the agent: what the device is, whom it trusts, how long to wait for what; flash, and the few things that
//! only the port can know or keep.

use contract::{ProductName, Version};
use embedded_storage::nor_flash::NorFlash;
use image::{Chip, Revision};

use crate::record::RECORD_BYTES;
use crate::retained::RETAINED_BYTES;

/// A URL has at most so many bytes.
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
    /// A wake from deep sleep, which is a boot but no crash.
    DeepSleep,
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
            Self::DeepSleep => "deep_sleep",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it may have been the power: then a roll-back seen at this boot says nothing against the image.
    pub(crate) const fn may_be_power(self) -> bool {
        matches!(self, Self::PowerOn | Self::BrownOut)
    }

    /// Whether the running image crashed, as the boot counter counts crashes.
    pub(crate) const fn is_crash(self) -> bool {
        matches!(self, Self::Panic | Self::Watchdog | Self::BrownOut)
    }
}

/// What the chip is and what its eFuses say, as far as the port can read it. What is `None` is not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hardware {
    /// Images for any other chip are refused.
    pub chip: Chip,
    /// The chip's revision.
    pub revision: Option<Revision>,
    /// The revision of its eFuse block.
    pub efuse_block_revision: Option<Revision>,
    /// The eFuse's secure version, where anti-rollback is on.
    pub secure_version: Option<u32>,
    /// The digests of the keys in eFuse that are not revoked, where hardware secure boot is on.
    pub secure_boot: Option<&'static [[u8; 32]]>,
}

impl Hardware {
    /// A chip of which nothing else is known.
    pub const fn new(chip: Chip) -> Self {
        Self { chip, revision: None, efuse_block_revision: None, secure_version: None, secure_boot: None }
    }
}

/// How the inactive slot is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EraseUnit {
    /// 4 KiB at a time: short pauses for the network.
    Sector,
    /// 64 KiB at a time wherever a whole block is the slot's own to erase: less time in all, in longer pauses.
    Block,
}

/// How the agent works on this device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What the device is.
    pub hardware: Hardware,
    /// SHA-256 digests of the keys whose signatures are trusted, compiled in; at most [`crate::KEPT`], or an older image that
    /// comes back does not know of them. With none, unsigned images are taken, and every report says so.
    pub trusted_keys: &'static [[u8; 32]],
    /// By so many of these keys an image must be signed, 1 to 3. With more than there are keys, no image is taken.
    pub signatures_required: u8,
    /// What the device says it is, if it says so.
    pub product: Option<ProductName>,
    /// The running image's version as the application was compiled with; used where the image's descriptor does not say one.
    pub version: Option<Version>,
    /// Why the device restarted.
    pub reset: ResetReason,
    /// What confirms a new image.
    pub check: Check,
    /// How the slot is erased.
    pub erase: EraseUnit,
    /// How long a new image has to confirm itself, in milliseconds.
    pub self_test_ms: u32,
    /// After so many crashes in a row a confirmed image is left for the image in the other slot.
    pub crash_loop_at: u8,
    /// How long an image must run before its crashes are forgotten, in milliseconds.
    pub stable_ms: u32,
    /// How long a connection may be silent, in milliseconds. One that brings less than 4 KiB in four times as long counts
    /// as lost too.
    pub stall_ms: u32,
    /// The first pause before a download goes on, in milliseconds; it doubles each time, up to a minute, and up to a
    /// quarter of this comes on top.
    pub back_off_ms: u32,
    /// A download goes on at most so often after a lost connection. 64 KiB that were never received
    /// before make up for one.
    ///
    /// With what [`Self::new`] sets, a connection that is lost for good and refused at once is given up after 31 s
    /// (1, 2, 4, 8 and 16) and at most 1.25 s of jitter; one that hangs, after 6 stalls more, 213 s in all.
    pub retries: u8,
    /// How long to wait for a fresh URL before it is asked for again, in milliseconds.
    pub url_wait_ms: u32,
    /// At most so many requests for a fresh URL in one update.
    pub url_requests: u8,
    /// How long a restart waits for the last message to be acknowledged, in milliseconds.
    pub last_message_ms: u32,
    /// How long new connection settings have to reach the broker, in milliseconds.
    pub move_ms: u32,
}

impl Settings {
    /// What suits a device in the field.
    pub const fn new(chip: Chip) -> Self {
        Self {
            hardware: Hardware::new(chip),
            trusted_keys: &[],
            signatures_required: 1,
            product: None,
            version: None,
            reset: ResetReason::Unknown,
            check: Check::Broker,
            erase: EraseUnit::Sector,
            self_test_ms: 60_000,
            crash_loop_at: 5,
            stable_ms: 600_000,
            stall_ms: 30_000,
            back_off_ms: 1_000,
            retries: 5,
            url_wait_ms: 60_000,
            url_requests: 5,
            last_message_ms: 2_000,
            move_ms: 120_000,
        }
    }
}

/// How the flash's encryption concerns the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// The flash is not encrypted.
    Off,
    /// It is, and what is read and written here is the plain text of every partition that is encrypted. Erased flash
    /// then reads as anything at all.
    Transparent,
    /// It is, and this port cannot write through it: every update is refused.
    Unsupported,
}

/// There is no place to keep a record, or it did not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotKept;

/// A device, as its port sees it. Only flash is required; whatever else is missing is reported as missing.
pub trait Port: NorFlash {
    /// How flash encryption is handled.
    fn encryption(&self) -> Encryption {
        Encryption::Off
    }

    /// Reads what [`Self::save`] saved last, whole, or all zeros if it never did: the port's NVS adapter. Asked only where
    /// the partition table has no partition named `updraft`.
    fn load(&mut self, _record: &mut [u8; RECORD_BYTES]) -> Result<(), NotKept> {
        Err(NotKept)
    }

    /// Saves a record so that a cut at any moment leaves this one or the one before.
    fn save(&mut self, _record: &[u8; RECORD_BYTES]) -> Result<(), NotKept> {
        Err(NotKept)
    }

    /// Memory that resets leave alone and that power-on fills with anything (`.rtc_noinit`, RTC fast memory).
    fn retained(&mut self) -> Option<&mut [u8; RETAINED_BYTES]> {
        None
    }
}
