//! Whose signatures an image needs: of so many trusted keys, and by a key in eFuse under hardware secure boot.
//!
//! Trust is what the newest image that was confirmed here was compiled with. It is kept in the record, so that an older image that
//! runs again, with older keys compiled in, goes by it too. Without a record the keys compiled in count.

use crate::port::Settings;
use crate::record::Record;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Trust<'a> {
    /// Digests of the keys that count; `None`: unsigned images are taken.
    pub(crate) keys: Option<&'a [[u8; 32]]>,
    /// So many of them must have signed.
    #[cfg_attr(not(feature = "signature"), expect(dead_code, reason = "no signature is counted"))]
    pub(crate) required: u8,
    /// Digests of the keys in eFuse, under hardware secure boot.
    pub(crate) secure_boot: Option<&'a [[u8; 32]]>,
}

/// Whether an image is signed by those who count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signed {
    /// By everybody it must be signed by.
    #[cfg_attr(not(feature = "signature"), expect(dead_code, reason = "nothing is verified"))]
    Yes,
    /// There are signatures, and none is needed.
    Unchecked,
    /// There are none, and none is needed.
    No,
}

impl<'a> Trust<'a> {
    pub(crate) fn of(settings: &'a Settings, record: &'a Record) -> Self {
        let secure_boot = settings.hardware.secure_boot;
        match &record.trusted {
            Some(trusted) => {
                // An older agent that ran in between keeps the keys, and knows no number.
                let required =
                    if trusted.required == 0 { settings.signatures_required } else { trusted.required };
                Self { keys: Some(&trusted.keys), required, secure_boot }
            }
            None => {
                let wants_several = settings.signatures_required > 1;
                let keys = Some(settings.trusted_keys).filter(|keys| wants_several || !keys.is_empty());
                Self { keys, required: settings.signatures_required, secure_boot }
            }
        }
    }

    /// Only what the bootloader asks for.
    pub(crate) fn of_bootloader(settings: &'a Settings) -> Self {
        Self { keys: None, required: 0, secure_boot: settings.hardware.secure_boot }
    }

    /// Whether an unsigned image is refused.
    pub(crate) fn wants_signature(&self) -> bool {
        self.keys.is_some() || self.secure_boot.is_some()
    }

    pub(crate) fn keys(&self) -> &'a [[u8; 32]] {
        self.keys.unwrap_or_default()
    }
}
