//! Why a device that was heard of is not admitted, and what to do.

crate::entry::table! {
    INVALID_ID "invalid_id" "This is no device id: letters, digits, '.', '_', ':' and '-' make one, the first of them a letter or a digit, at most 64. Change it in the firmware.";
    NOT_REGISTERED "not_registered" "Nobody has registered this id. Register it, and give the device its password.";
    WRONG_PASSWORD "wrong_password" "The device is registered, and comes with another password. Give it the one that was shown when it was registered, or remove it and register it again.";
    NOT_REGISTERED_OUTSIDE "not_registered_outside" "Nobody has registered this id, and fleet.admit admits registered devices only. Register it.";
    NO_PASSWORD "no_password" "It comes without a user name or without a password. The user name is the device's id, the password was shown when it was registered.";
    WRONG_TOKEN "wrong_token" "Its password is no API token that may listen to devices.";
    NO_ROOM "no_room" "{most} devices are known, which is fleet.max_devices. Raise it, or remove devices that are gone.";
    UNREADABLE_REPORT "unreadable_report" "What it reports is no version. It is to send one as a text, such as 1.2.0, or a JSON object that has one as \"version\".";
    NO_REPORT "no_report" "It has not reported a version yet. It becomes known by its first one.";
    ONLY_RETAINED "only_retained" "Only what the broker kept of it was heard, and no version. It becomes known by its first report; clear what is retained if the device is gone.";
    NO_MQTT "no_mqtt" "It was not let in: {what}.";
}
