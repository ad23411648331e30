//! What `check update` decides.

crate::table! {
    /// The device never said what it runs.
    UNKNOWN_VERSION "unknown_version" "The device has not reported a version yet. It does when it connects.";
    /// An update is on its way. `to`
    IN_PROGRESS "in_progress" "An update to {to} is already on its way.";
    /// The channel points to nothing. `channel`
    NOT_PROMOTED "not_promoted" "Nothing has been promoted to {channel} yet.";
    /// The target needs more than what runs, and nothing between them is allowed. `version requires running`
    NO_STEP_BETWEEN "no_step_between" "{version} can only be reached from {requires} on, the device runs {running}, and no release between them is allowed.";
    /// `version why`
    BLOCKED "blocked" "{version} is blocked[: {why}].";
    /// `version`
    UP_TO_DATE "up_to_date" "The device already runs {version}.";
    /// `running version`
    NEWER_THAN_CHANNEL "newer_than_channel" "The device runs {running}, which is newer than {version}.";
    /// `version image device`
    WRONG_CHIP "wrong_chip" "{version} is built for {image}, and the device is an {device}.";
    /// `version size slot_bytes`
    TOO_LARGE "too_large" "{version} has {size} bytes, and the device's smallest slot has {slot_bytes}.";
    /// `version`
    QUARANTINED "quarantined" "{version} failed twice on this device.";
    /// `version`
    OFFLINE "offline" "The device is offline, so the trigger for {version} was not sent.";
    /// `version`
    OFFERED "offered" "{version} was offered to the device.";
}
