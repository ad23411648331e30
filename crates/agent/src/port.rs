//! What the agent needs of the device it runs on: flash, and the few things that only the port can know or keep.

use embedded_storage::nor_flash::NorFlash;

use crate::record::RECORD_BYTES;
use crate::retained::RETAINED_BYTES;

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
