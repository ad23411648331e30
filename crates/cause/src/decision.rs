//! What `check update` decides.

crate::entry::table! {
    UNKNOWN_VERSION "unknown_version" "The device has not reported a version yet. It does when it connects.[ It was last heard at {heard}.]";
    UNREADABLE_VERSION "unreadable_version" "The device has not reported a version that can be read: {count} of its messages could not be, the last at {at} ({last}).";
    IN_PROGRESS "in_progress" "An update to {to} is already on its way.";
    KEPT_FOR_DEVICE "kept_for_device" "An update to {to} is kept for the device, and is sent when it comes[, until {until}].";
    DEFERRED "deferred" "An update to {to} was put off by the device until {until}[: {why}]";
    IN_PROGRESS_AND_REFUSED "in_progress_and_refused" "An update to {to} was offered, and the broker refuses its trigger: {answer}[. The server's user must be allowed to write {topic}]. It is tried again.";
    STORE_TIMEOUT "store_timeout" "The store did not answer within {seconds} seconds.";
    NO_PRODUCT "no_product" "The device belongs to no product yet: choose one for it, or set fleet.default_product.";
    NO_IMAGE "no_image" "{product}'s {channel} says {version}, and there is no firmware.bin of it.";
    STEPS_CORRUPT "steps_corrupt" "{count} releases on the way to the target are corrupt, {version} is the next; the log says what is wrong with them.";
    OTHER_BYTES "other_bytes" "{key} is not the image that was published as {version}: its sha256 is {sha256}, and it should be {expected}. Publish the image with {expected} as {version} again, which repairs it, or put it back; {version} is not offered until then.";
    UNFIT "unfit_image" "{key} cannot be offered as {version}: {why}.";
    NOT_PROMOTED "not_promoted" "Nothing has been promoted to {channel} yet.";
    NO_STEP_BETWEEN "no_step_between" "{version} can only be reached from {requires} on, the device runs {running}, and no release between them is allowed.";
    BLOCKED "blocked" "{version} is blocked[: {why}]";
    BLOCKED_BYTES "blocked_image" "{version} has the bytes of {product} {same}, which is blocked[: {why}]";
    UP_TO_DATE "up_to_date" "The device already runs {version}.";
    NEWER_THAN_CHANNEL "newer_than_channel" "The device runs {running}, which is newer than {version}.";
    PINNED "pinned" "{by} pinned the device to {to}[: {why}]";
    ON_HOLD "on_hold" "{by} keeps the device as it is[: {why}]";
    TWINS "twins" "Two devices use this id: what they report goes to and fro. Give one of them another id and password; an hour later this one can be updated.";
    OTHER_NAME "other_name" "The device installed {version}, and reports {running} since: the image calls itself so, or another one was installed. Build it with the version under which it is published.";
    KEPT_BACK "held" "The device refused {version} three times for the same reason ({code}), and is not offered it again.";
    WRONG_CHIP "wrong_chip" "{version} is built for {image}, and the device is an {device}.";
    WRONG_REVISION "wrong_chip_revision" "{version} is built for chips of revision {lowest}[ to {highest}][ and higher{open?}], and the device's is {device}.";
    TOO_LARGE "too_large" "{version} has {size} bytes, and the device's smallest slot has {slot_bytes}.";
    QUARANTINED "quarantined" "{version} failed twice on this device.";
    OFFLINE "offline" "The device is offline, so the trigger for {version} was not sent: nothing is queued.[ It was last heard at {heard}.]";
    OFFLINE_WITHOUT_BROKER "offline_without_broker" "The device is offline, so the trigger for {version} was not sent: nothing is queued. The server has no connection to its broker.";
    OFFERED "offered" "{version} was offered to the device.";
    OFFERED_AND_WAITING "offered_and_waiting" "{version} was offered to the device. The trigger is sent as soon as the device listens to it, and store and broker answer.";
    OFFERED_WHEN_ONLINE "offered_when_online" "{version} is kept for the device, and is sent when it comes, until {until}.";
    OFFERED_AND_REFUSED "offered_and_refused" "{version} was offered to the device, and the broker refuses the trigger: {answer}[. The server's user must be allowed to write {topic}]. It is tried again.";
}
