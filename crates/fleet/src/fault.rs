//! Whose fault an update's end was: the image's, or that of a line, of a power cut, of the device.
//!
//! The contract counts for the quarantine what failed after the boot or in verification, and neither lost connections nor
//! power cuts. A reason is free text, and a plain device has its own words, so the order is: what excuses the image,
//! then where it failed, then what accuses it. Doubt excuses: a good image locked out needs a person, a bad one
//! offered once more only another roll-back.

use alloc::string::String;

use contract::Phase;

use crate::UpdateState;

/// Reset reasons that say nothing against an image, in the spellings of the agent and of ESP-IDF.
const POWER_RESETS: [&str; 5] = ["power_on", "poweron", "power", "brown_out", "brownout"];
const POWER: [&str; 3] = ["power", "brown-out", "brownout"];
/// A roll-back whose reason says one of these happened while the new image ran, whatever the last reset was.
const RAN_BADLY: [&str; 7] =
    ["crash", "panic", "watchdog", "hung", "confirm itself", "did not pass", "was not reached"];
/// The line, the server, the flash, or an image for other devices.
const EXCUSES: [&str; 16] = [
    "interrupted",
    "connect",
    "network",
    "timeout",
    "timed out",
    "given up",
    "http",
    "the server",
    "url",
    "dns",
    "tls",
    "socket",
    "too large",
    "wrong chip",
    "does not hold what was written",
    "cancel",
];
/// What the agent, ESP-IDF and Arduino say of an image that is not whole or not one.
const REFUSALS: [&str; 17] = [
    "verif",
    "validat",
    "digest",
    "checksum",
    "signature",
    "sha-256",
    "sha256",
    "md5",
    "magic byte",
    "damaged",
    "corrupt",
    "cut short",
    "no bootloader can map",
    "not an esp",
    "not an application",
    "not a signature",
    "whole flash chip",
];

/// Whether an end counts against the image. `phase` is what the device last said it was doing; `reset` why it last
/// restarted, where it said so together with this end.
pub fn is_image_at_fault(end: UpdateState, phase: Option<Phase>, reset: Option<&str>, reason: &str) -> bool {
    let reason: String = reason.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if says(&POWER) {
        return false;
    }
    match end {
        UpdateState::RolledBack => {
            says(&RAN_BADLY) || !reset.is_some_and(|reset| POWER_RESETS.contains(&reset))
        }
        UpdateState::Failed if reason.starts_with("quarantined") => true,
        UpdateState::Failed if says(&EXCUSES) => false,
        UpdateState::Failed => phase == Some(Phase::Verify) || says(&REFUSALS),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use UpdateState::{Cancelled, Failed, RolledBack, Succeeded, TimedOut};
    use contract::Phase::{Download, Restart, Verify};

    use super::*;

    #[test]
    fn a_roll_back_is_the_images_fault_unless_the_power_went() {
        for (reset, reason, at_fault) in [
            // The agent's, word for word.
            (None, "rolled back: the new image crashed before it was confirmed", true),
            (None, "rolled back: the new image hung before it was confirmed", true),
            (None, "rolled back: the new image restarted before it was confirmed", true),
            (Some("software"), "rolled back: the broker was not reached within 60 s", true),
            (Some("software"), "rolled back: the application's check did not pass within 60 s", true),
            (Some("software"), "rolled back: it did not confirm itself in its first boot", true),
            (Some("panic"), "rolled back: the bootloader could not start the new image", true),
            (Some("power_on"), "rolled back: the bootloader could not start the new image", false),
            (None, "rolled back: the power was lost before the new image was confirmed", false),
            (None, "rolled back: the device lost power while the new image was being confirmed", false),
            // The outcome is told again at each connect: a later power-on does not clear what crashed.
            (Some("power_on"), "rolled back: the new image crashed before it was confirmed", true),
            // The server's, and other devices'.
            (None, "the device reports 1.0.0 again", true),
            (None, "the device gave no reason", true),
            (Some("brown_out"), "the device gave no reason", false),
            (Some("poweron"), "", false),
            (None, "Brownout detector was triggered", false),
        ] {
            let found = is_image_at_fault(RolledBack, Some(Restart), reset, reason);
            assert_eq!(found, at_fault, "{reset:?}: {reason}");
        }
    }

    #[test]
    fn a_failure_is_the_images_fault_only_in_verification() {
        for (phase, reason, at_fault) in [
            // The agent's, word for word.
            (None, "this is not an ESP32 application image: it begins with 0x00, not 0xE9", true),
            (
                None,
                "the image is cut short: it has 9 bytes, but its header and segments need at least 24",
                true,
            ),
            (None, "the image header is damaged: it says 99 segments; there can be 1 to 16", true),
            (None, "the image is damaged: its checksum is 0x01, but its data gives 0x02", true),
            (None, "the image is damaged: the SHA-256 digest at its end is not that of its content", true),
            (
                None,
                "no bootloader can map this image: segment 0 lies at 0x20 in the file and wants to be at address \
                 0x3c000000, which is another place in a memory page",
                true,
            ),
            (
                None,
                "this is not an application image: nothing in it runs from flash, so it is a bootloader",
                true,
            ),
            (
                None,
                "the image ends at byte 9, but the file goes on with something that is not a signature",
                true,
            ),
            (
                None,
                "this is a whole flash chip (there is a partition table at 0x8000), not an application",
                true,
            ),
            (None, "quarantined: this image failed twice on this device", true),
            (Some(Verify), "the flash does not hold what was written to it", false),
            (Some(Verify), "interrupted: the device restarted during the download", false),
            (Some(Verify), "interrupted: the device restarted before the new image was selected", false),
            (Some(Download), "given up after 5 tries: the file changed on the server", false),
            (Some(Download), "the server answered 404", false),
            (Some(Download), "the server answered 403, and no URL that works came in time", false),
            (None, "wrong chip: the image is for esp32c3, this device is esp32s3", false),
            (None, "the image is too large: 9 bytes, the slot has 8", false),
            (None, "the trigger is not an http or https URL of at most 2048 bytes", false),
            // Other devices'.
            (None, "ESP_ERR_OTA_VALIDATE_FAILED", true),
            (None, "Image validation failed, image is corrupted", true),
            (None, "Wrong Magic Byte", true),
            (Some(Verify), "", true),
            (Some(Verify), "the device gave no reason", true),
            (Some(Verify), "lost connection to the broker", false),
            (Some(Verify), "power lost", false),
            (None, "ESP_ERR_HTTP_CONNECT", false),
            (None, "checksum not fetched: connection reset", false),
            (Some(Download), "the device gave no reason", false),
        ] {
            assert_eq!(is_image_at_fault(Failed, phase, None, reason), at_fault, "{phase:?}: {reason}");
        }
    }

    #[test]
    fn other_ends_accuse_nobody() {
        for end in [Succeeded, TimedOut, Cancelled, UpdateState::Downloading] {
            assert!(!is_image_at_fault(end, Some(Verify), Some("panic"), "the checksum is wrong"));
        }
    }
}
