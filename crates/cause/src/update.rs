//! Why an update ended, where the server found it out. A device that gives a reason is quoted instead.

crate::entry::table! {
    SILENT_AFTER_TRIGGER "silent_after_trigger" "the device did not begin after the trigger was sent[; it was last heard at {heard}][, running {running}][; it stayed connected, and the trigger was a packet of {packet_bytes} bytes, which a client with a smaller buffer drops without a word: enlarge that, or set mqtt.device_packet_bytes]";
    TRIGGER_NOT_SENT "trigger_not_sent" "the trigger could not be sent in time: the device did not listen, or the store or the broker did not answer[; it was last heard at {heard}]";
    NOT_SEEN_IN_TIME "not_seen_in_time" "the device was not seen in the time that it was waited for[; it was last heard at {heard}]";
    SILENT_IN_DOWNLOAD "silent_in_download" "the download did not go on[; the device was last heard at {heard}]";
    SILENT_AFTER_RESTART "silent_after_restart" "the device did not report {to} after the restart[; it was last heard at {heard}][, running {running}]";
    TRIGGER_REFUSED "trigger_refused" "the broker refuses the trigger: {answer}[. The server's user must be allowed to write {topic}]";
    OLD_VERSION_AGAIN "old_version_again" "the device reports {version} again";
    OTHER_VERSION_RUNS "other_version_runs" "the device runs {version} now: the image of {to} calls itself so, or another one was installed meanwhile";
    OTHER_IMAGE_RUNS "other_image_runs" "the device says that it runs {version}, and its image is not that release's";
    NO_LONGER_OFFERED "no_longer_offered" "{version} was kept for the device, and would not be offered to it any more: {why}";
    PUT_OFF "put_off" "the time for which the device put it off is over; its rollout offers it again";
    NO_REASON "no_reason" "the device gave no reason";
    ROLLOUT_ENDED "rollout_ended" "rollout {rollout} was {state} before the trigger was sent";
    BLOCKED_MEANWHILE "blocked_meanwhile" "{version} was blocked before the device began[: {why}]";
    BLOCKED_BEFORE_TRIGGER "blocked_before_trigger" "{version} was blocked before the trigger was sent[: {why}]";
}
