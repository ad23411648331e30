//! Why a server did not do what it was asked for.

crate::entry::table! {
    NO_DEVICE "no_device" "There is no device {device}.";
    DEVICE_EXISTS "device_exists" "There is a device {device} already.";
    PRODUCT_UNSAID "product_unsaid" "Name the device's product: there is no fleet.default_product, and not exactly one product.";
    GROUP "group" "A group has 1 to {most_bytes} bytes, without control characters.";
    PIN "pin" "A device is pinned to a version such as 1.2.0, or to the word hold: then it is offered nothing.";
    EXPIRES "expires" "An update is kept for {least} to {most} seconds.";
    FORCE_OR_WAIT "force_or_wait" "An update is sent at once (force) or when the device comes (when_online), not both.";
    TAGS "tags" "A device has at most {most} tags, each of 1 to {most_bytes} bytes.";
    NOT_REMOVED "not_removed" "{device} was not removed: the broker does not answer, so what the device left there cannot be cleared.";
    QUARANTINE_NOT_SENT "quarantine_not_sent" "The server's list is cleared, and {device} could not be told, since the broker does not answer: try again.";
    REPORTS_CHANGE "reports_change" "{device} reports another version each time it is asked; try again.";
    NO_STATE "no_state" "A state is online, offline, {states}; not {word}.";
    NO_IDENTITY "no_identity" "there is no identity {word}; there are {words}";
    PAGE_SIZE "page_size" "A page has 1 to {most} items, not {asked}.";
    CURSOR "cursor" "This cursor is not one of this list's.";
    NO_UPDATE "no_update" "There is no update {update}.";
    UPDATE_ENDED "update_ended" "Update {update} has ended already: {state}.";
    NOT_OUR_LINK "not_our_link" "This link is not one of this server's.";
    LINK_EXPIRED "link_expired" "This link has expired.";
    UPDATE_CANCELLED "update_cancelled" "This update was cancelled[: {why}].";
    LOOPBACK_HOST "loopback_host" "Devices are sent URLs of {host}, which is each machine's own name for itself: only devices on this machine reach it. Set {setting} to the address that devices reach.";
    BARE_HOST "bare_host" "Devices are sent URLs of {host}, a name that only programs beside this server may know (a container's, or Docker Compose's). Set {setting} to the address that devices reach.";
    NO_PRODUCT "unknown_product" "There is no product {product}.";
    NO_PRODUCT_IN_STORE "no_product_in_store" "There is no product {product} in the store.";
    NO_RELEASE "unknown_release" "{product} has no release {version}.";
    BLOCK_REASON "block_reason" "Say why {version} is blocked, in 1 to {most} bytes.";
    GOES_ON "goes_on" "The store takes its time over {what}. It goes on: look again in a minute, and ask again if it is not done then.";
    PROMOTIONS_BUSY "promotions_busy" "{count} releases are being promoted already, and the store takes its time; try again in a minute.";
    NOT_PROMOTED_THEN "published_not_promoted" "{version} is published, and was not promoted to {channel}: {why}";
    PRODUCT_UNSURE "product_unsure" "The store did not tell within {seconds} seconds whether there is a product {product}; try again.";
    STORE_READING "store_reading" "The store has not answered within {seconds} seconds. It is still being read, and what it holds is shown as soon as it answers.";
    STORE_NOT_READ "store_not_read" "The store is still being read; ask again in a moment.";
    ISSUER_SPELLING "issuer_spelling" "The token's issuer (iss) is {issuer}, and a [[trusted_publisher]] names {known}: the two are compared letter for letter, the slash at the end too, so write issuer as the token has it.";
    ISSUER_UNKNOWN "issuer_unknown" "The token's issuer (iss) is {issuer}, which no [[trusted_publisher]] of this server names.";
    ISSUER_SILENT "issuer_silent" "The token cannot be verified now: the keys of its issuer {issuer} were not read, since {why}. Try again in a minute.";
    ISSUER_KEY "issuer_key" "The token says it is signed with the key {key}, and its issuer {issuer} has no such key.";
    TRUSTS_NOBODY "trusts_nobody" "This server trusts no publisher: its configuration has no [[trusted_publisher]].";
    TOKEN_USED "token_used" "This token was used here before, and each is taken once: ask the CI system for a new one.";
    TOKEN_ENDED "token_ended" "This token has ended, since the server's configuration was changed after it was given. {why}";
    TOKEN_NAME "token_name" "A token's name has 1 to {most} bytes.";
    TOKEN_EXISTS "token_exists" "There is a token named {name} already.";
    NO_TOKEN "no_token" "There is no token named {name}.";
    DATABASE_AWAY "database_away" "The database does not answer. When it is back, look whether this was done before you ask again.";
    DATABASE_BUSY "database_busy" "Others were writing the same. Nothing was done; ask again.";
    TEXT "text" "A text has a character that cannot be kept, such as NUL.";
}
