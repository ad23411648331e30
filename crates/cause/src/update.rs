//! Why an update ended, where the server found it out. A device that gives a reason is quoted instead.

crate::entry::table! {
    SILENT_AFTER_TRIGGER "silent_after_trigger" "nothing was heard of the device after the trigger was sent";
    TRIGGER_NOT_SENT "trigger_not_sent" "the trigger could not be sent in time: the device did not listen, or the store or the broker did not answer";
    SILENT_IN_DOWNLOAD "silent_in_download" "nothing was heard of the device during the download";
    SILENT_AFTER_RESTART "silent_after_restart" "nothing was heard of the device after the restart";
    OLD_VERSION_AGAIN "old_version_again" "the device reports {version} again";
    OTHER_VERSION_RUNS "other_version_runs" "the device restarted, and runs {version}";
    OTHER_IMAGE_RUNS "other_image_runs" "the device says that it runs {version}, and its image is not that release's";
    NO_REASON "no_reason" "the device gave no reason";
    ROLLOUT_ENDED "rollout_ended" "rollout {rollout} was {state} before the trigger was sent";
    BLOCKED_MEANWHILE "blocked_meanwhile" "{version} was blocked before the device began[: {why}]";
    BLOCKED_BEFORE_TRIGGER "blocked_before_trigger" "{version} was blocked before the trigger was sent[: {why}]";
}
