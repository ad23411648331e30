//! Why an update ended, where the server found it out. A device that gives a reason is quoted instead.

crate::entry::table! {
    /// No message while the trigger was the last thing that happened.
    SILENT_AFTER_TRIGGER "silent_after_trigger" "nothing was heard of the device after the trigger was sent";
    /// No message in mid-download.
    SILENT_IN_DOWNLOAD "silent_in_download" "nothing was heard of the device during the download";
    /// No message after the restart.
    SILENT_AFTER_RESTART "silent_after_restart" "nothing was heard of the device after the restart";
    /// A success is taken back. `version`
    OLD_VERSION_AGAIN "old_version_again" "the device reports {version} again";
    /// FAILED, and nothing else.
    NO_REASON "no_reason" "the device gave no reason";
    /// `version why`
    BLOCKED_BEFORE_TRIGGER "blocked_before_trigger" "{version} was blocked before the trigger was sent[: {why}]";
}
