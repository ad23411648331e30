use alloc::borrow::ToOwned;
use alloc::format;

use UpdateState::{Cancelled, Failed, RolledBack, Succeeded, TimedOut};
use contract::Code;
use contract::Phase::{Download, Restart, Verify};

use super::*;

fn ended(end: UpdateState, phase: Option<Phase>, reset: Option<&str>, words: &str) -> bool {
    let why = (!words.is_empty()).then(|| Why::Device(words.to_owned()));
    is_image_at_fault(&Change { state: end, why }, phase, reset)
}

#[test]
fn a_roll_back_is_the_images_fault_unless_the_power_went() {
    for (reset, words, at_fault) in [
        (None, "", true),
        (Some("panic"), "", true),
        (Some("task_wdt"), "rolled back", true),
        (Some("software"), "rolled back to 1.0.0 by the bootloader", true),
        (Some("brown_out"), "", false),
        (Some("poweron"), "", false),
        (Some("power_on"), "rolled back", false),
        // The outcome is told again at each connect: a later power-on does not clear what crashed.
        (Some("power_on"), "rolled back: Guru Meditation Error, panic'ed (LoadProhibited)", true),
        (Some("power_on"), "rolled back: task watchdog got triggered", true),
        // ESP-IDF's own line.
        (None, "Brownout detector was triggered", false),
        (None, "power lost while updating", false),
    ] {
        assert_eq!(ended(RolledBack, Some(Restart), reset, words), at_fault, "{reset:?}: {words}");
    }
}

/// `Update.errorString()` and `HTTPUpdate::getLastErrorString()` of arduino-esp32 2.0.17, and `esp_err_to_name` of ESP-IDF 5.
#[test]
fn a_sketchs_failure_is_the_images_fault_only_in_verification() {
    for (phase, words, at_fault) in [
        (None, "MD5 Check Failed", true),
        (None, "Wrong Magic Byte", true),
        (None, "Wrong Magic Byte [8]", true),
        (None, "Faulty MD5", true),
        (None, "Verify Bin Header Failed", true),
        (None, "ESP_ERR_OTA_VALIDATE_FAILED", true),
        (None, "ESP_ERR_IMAGE_INVALID", true),
        (None, "Image validation failed, image is corrupted", true),
        (None, "checksum does not match", true),
        (None, "Flash Write Failed", false),
        (None, "Flash Erase Failed", false),
        (None, "Flash Read Failed", false),
        (None, "Not Enough Space", false),
        (None, "Bad Size Given", false),
        (None, "Stream Read Timeout", false),
        (None, "Could Not Activate The Firmware", false),
        (None, "Partition Could Not be Found", false),
        (None, "Bad Argument", false),
        (None, "Aborted", false),
        (None, "Server Did Not Report Size", false),
        (None, "File Not Found (404)", false),
        (None, "Forbidden (403)", false),
        (None, "Wrong HTTP Code", false),
        (None, "New Binary Does Not Fit Flash Size", false),
        (None, "HTTP error: connection refused", false),
        (None, "HTTP error: read Timeout", false),
        (None, "ESP_ERR_HTTP_CONNECT", false),
        (None, "ESP_ERR_TIMEOUT", false),
        (None, "ESP_ERR_FLASH_OP_FAIL", false),
        (None, "esp-tls: couldn't get hostname for host: dns failed", false),
        (None, "checksum not fetched: connection reset", false),
        // People's, and those of an agent whose code is newer than this table.
        (Some(Verify), "download interrupted, MD5 failed", false),
        (Some(Verify), "wrong chip", false),
        (None, "the image is damaged [gremlins]", true),
        (None, "the file is cut short", true),
        (Some(Verify), "", true),
        (Some(Verify), "update failed", true),
        (Some(Verify), "lost connection to the broker", false),
        (Some(Verify), "power lost", false),
        (Some(Download), "", false),
        (Some(Download), "update failed", false),
    ] {
        assert_eq!(ended(Failed, phase, None, words), at_fault, "{phase:?}: {words}");
    }
}

#[test]
fn what_the_server_finds_out_accuses_as_a_reason_that_is_missing() {
    for (end, phase, at_fault) in
        [(RolledBack, None, true), (Failed, Some(Verify), true), (Failed, None, false)]
    {
        let why = Some(Why::Cause(cause::update::NO_REASON.cause()));
        assert_eq!(
            is_image_at_fault(&Change { state: end, why }, phase, None),
            at_fault,
            "{end:?} {phase:?}"
        );
    }
}

/// Every code, whether the image ran, and whether the end counts against it.
const TABLE: [(Code, bool, bool); 37] = [
    (Code::NotAnImage, false, true),
    (Code::WrongChip, false, false),
    (Code::ChipRevision, false, false),
    (Code::EfuseRevision, false, false),
    (Code::MmuPageSize, false, false),
    (Code::FlashMode, false, false),
    (Code::TooLarge, false, false),
    (Code::WrongProject, false, false),
    (Code::WrongVersion, false, false),
    (Code::SecureVersion, false, false),
    (Code::Unprotected, false, true),
    (Code::TrailingBytes, false, true),
    (Code::Damaged, false, true),
    (Code::Unsigned, false, true),
    (Code::UntrustedKey, false, false),
    (Code::TooFewSignatures, false, false),
    (Code::BadSignature, false, true),
    (Code::SecureBoot, false, false),
    (Code::Quarantined, false, true),
    (Code::BadUrl, false, false),
    (Code::ConnectionLost, false, false),
    (Code::ServerError, false, false),
    (Code::UrlExpired, false, false),
    (Code::Interrupted, false, false),
    (Code::Flash, false, false),
    (Code::Otadata, false, false),
    (Code::Encryption, false, false),
    (Code::Crashed, true, true),
    (Code::Hung, true, true),
    (Code::Restarted, true, true),
    (Code::PowerLost, true, false),
    (Code::NotBootable, true, true),
    (Code::CheckFailed, true, true),
    (Code::BrokerNotReached, true, true),
    (Code::NotConfirmed, true, true),
    (Code::CrashLoop, true, true),
    (Code::MoveFailed, false, false),
];

#[test]
fn a_known_code_decides_whatever_the_words_the_phase_and_the_reset_say() {
    assert_eq!(TABLE.map(|(code, ..)| code), Code::ALL, "each code once, in the order of the contract");
    for (code, ran, at_fault) in TABLE {
        let end = if ran { RolledBack } else { Failed };
        for words in ["the power was lost, a connection was", "crashed: the checksum is wrong", "x"] {
            let reason = format!("{words} [{code}]");
            for (phase, reset) in
                [(None, None), (Some(Verify), Some("power_on")), (Some(Restart), Some("panic"))]
            {
                assert_eq!(ended(end, phase, reset, &reason), at_fault, "{reason}");
            }
            assert!(!ended(Cancelled, None, None, &reason), "{reason}");
        }
    }
}

#[test]
fn a_code_that_nobody_knows_leaves_it_to_the_words() {
    assert!(ended(Failed, None, None, "the checksum is wrong [gremlins]"));
    assert!(!ended(Failed, None, None, "the server answered 404 [gremlins]"));
}

#[test]
fn other_ends_accuse_nobody() {
    for end in [Succeeded, TimedOut, Cancelled, UpdateState::Downloading] {
        assert!(!ended(end, Some(Verify), Some("panic"), "the checksum is wrong"));
    }
}

#[test]
fn what_an_image_and_a_device_do_not_change_by_themselves_lasts() {
    let of = |state, words: &str| {
        let why = Some(Why::Device(words.to_owned()));
        lasting_refusal(&Change { state, why })
    };
    assert_eq!(of(Failed, "it is for another project [wrong_project]"), Some(Code::WrongProject));
    for words in
        ["wrong project", "the line broke [connection_lost]", "it is cut short [damaged]", "x [crashed]"]
    {
        assert_eq!(of(Failed, words), None, "{words}");
    }
    assert_eq!(of(RolledBack, "x [wrong_project]"), None);
}
