/* Every sentence with which the library refuses or gives up, and the code of each, as crates/agent says them. A test compares
 * the two.
 *
 * Gaps are filled from the left: `#` with a number, `$` with one in hexadecimal, `@` with the name of the chip that has this
 * id, `%` with a revision, `=` with the sentence of this number; `~` with the text. */
#ifndef UPDRAFT_SENTENCES_H
#define UPDRAFT_SENTENCES_H

/* clang-format off */
#define UPDRAFT_SENTENCES(SENTENCE) \
    SENTENCE(READ_FAILED, "flash", "reading the flash at $ failed") \
    SENTENCE(ERASE_FAILED, "flash", "erasing the flash at $ failed") \
    SENTENCE(WRITE_FAILED, "flash", "writing the flash at $ failed") \
    SENTENCE(READ_BACK_DIFFERS, "flash", "the flash does not hold what was written to it") \
    SENTENCE(NOT_A_TARGET, "otadata", "this slot cannot be selected") \
    SENTENCE(NOT_RUNNING, "otadata", "otadata selects another slot") \
    SENTENCE(NOT_ESP32, "not_an_image", "not an ESP32 image: it begins with $") \
    SENTENCE(ESP8266, "not_an_image", "not an ESP32 image, perhaps an ESP8266's") \
    SENTENCE(NO_APPLICATION, "not_an_image", "no application: a bootloader, or for RAM") \
    SENTENCE(EMPTY, "not_an_image", "the image is empty") \
    SENTENCE(OVER_16_MIB, "too_large", "the image is larger than 16 MiB") \
    SENTENCE(LARGER_THAN_SLOT, "too_large", "the image is too large: # bytes, the slot has #") \
    SENTENCE(LARGER_THAN_ROOM, "too_large", "the image is too large: the slot has # bytes") \
    SENTENCE(TRAILING, "trailing_bytes", "the image ends at byte #, and no signature follows") \
    SENTENCE(SHORT, "damaged", "the image is cut short: # bytes instead of # or more") \
    SENTENCE(SEGMENT_COUNT, "damaged", "the image is damaged: it says # segments") \
    SENTENCE(SEGMENT_LENGTH, "damaged", "the image is damaged: segment # claims # bytes") \
    SENTENCE(CHECKSUM, "damaged", "the image is damaged: checksum $ instead of $") \
    SENTENCE(DIGEST, "damaged", "the image is damaged: its SHA-256 differs") \
    SENTENCE(BLOCK_DAMAGED, "damaged", "signature block #: =") \
    SENTENCE(DAMAGED_BLOCK, "bad_signature", "damaged") \
    SENTENCE(UNKNOWN_VERSION, "bad_signature", "of an unknown version") \
    SENTENCE(P192, "bad_signature", "ECDSA on P-192 is too weak") \
    SENTENCE(P384, "bad_signature", "ECDSA on P-384 is not supported") \
    SENTENCE(UNKNOWN_CURVE, "bad_signature", "ECDSA on an unknown curve") \
    SENTENCE(OTHER_KEY, "bad_signature", "not signed by the key that it names") \
    SENTENCE(OTHER_IMAGE, "bad_signature", "of another image") \
    SENTENCE(BAD_SIGNATURE, "bad_signature", "the signature: =") \
    SENTENCE(CANNOT_VERIFY, "bad_signature", "cannot verify signatures") \
    SENTENCE(UNSIGNED, "unsigned", "the image is not signed") \
    SENTENCE(TOO_FEW, "too_few_signatures", "signed by # trusted keys instead of #") \
    SENTENCE(UNTRUSTED, "untrusted_key", "not signed by a trusted key") \
    SENTENCE(WRONG_CHIP, "wrong_chip", "wrong chip: the image is for @, this device is @") \
    SENTENCE(UNKNOWN_CHIP, "wrong_chip", "wrong chip: the image is for an unknown chip $, this device is @") \
    SENTENCE(CHIP_REVISION, "chip_revision", "the image is for chip revisions % to %, this one is %") \
    SENTENCE(SECURE_VERSION, "secure_version", "secure version # instead of # or more") \
    SENTENCE(WRONG_VERSION, "wrong_version", "the image is not ~, as the server named it") \
    SENTENCE(MMU_PAGE_SIZE, "mmu_page_size", "memory pages of # bytes instead of #") \
    SENTENCE(FLASH_MODE, "flash_mode", "the image has flash mode =, the running one has =") \
    SENTENCE(QIO, "flash_mode", "qio") \
    SENTENCE(QOUT, "flash_mode", "qout") \
    SENTENCE(DIO, "flash_mode", "dio") \
    SENTENCE(DOUT, "flash_mode", "dout") \
    SENTENCE(FAST_READ, "flash_mode", "fast_read") \
    SENTENCE(SLOW_READ, "flash_mode", "slow_read") \
    SENTENCE(ODD_MODE, "flash_mode", "unknown") \
    SENTENCE(WRONG_PROJECT, "wrong_project", "the image is of another project, this device runs ~") \
    SENTENCE(UNPROTECTED, "unprotected", "neither digest nor signature") \
    SENTENCE(QUARANTINED, "quarantined", "quarantined: it failed twice here") \
    SENTENCE(NOT_A_URL, "bad_url", "the trigger is not an http or https URL of at most 2048 bytes") \
    SENTENCE(URL, "server_error", "the URL cannot be fetched") \
    SENTENCE(DOWNGRADE, "server_error", "the server redirects from https to http") \
    SENTENCE(LONG_LOCATION, "server_error", "the server redirects to a URL that is too long") \
    SENTENCE(REDIRECTS, "server_error", "the server redirected more than # times") \
    SENTENCE(COMPRESSED, "server_error", "the server compressed the file") \
    SENTENCE(ANSWERED, "server_error", "the server answered #") \
    SENTENCE(SENT_MORE, "server_error", "the server sent more than announced") \
    SENTENCE(LOST, "connection_lost", "the connection was lost: ~") \
    SENTENCE(SILENT, "connection_lost", "the server was silent for # s") \
    SENTENCE(TOO_SLOW, "connection_lost", "the server sent next to nothing for minutes") \
    SENTENCE(SENT_LESS, "connection_lost", "the server sent less than announced") \
    SENTENCE(TAIL_TOO_LONG, "connection_lost", "the server sent more than announced") \
    SENTENCE(NO_SUCH_PART, "connection_lost", "the server does not have this part") \
    SENTENCE(PART_UNSAID, "connection_lost", "the server sent a part and not which") \
    SENTENCE(OTHER_PART, "connection_lost", "the server sent another part") \
    SENTENCE(FILE_CHANGED, "connection_lost", "the file changed on the server") \
    SENTENCE(GIVEN_UP, "connection_lost", "given up after # tries: ~") \
    SENTENCE(NO_FRESH_URL, "url_expired", "the server answered 403, and no fresh URL came") \
    SENTENCE(RESTARTED_WITHOUT_URL, "interrupted", "interrupted: restarted, and no fresh URL came") \
    SENTENCE(RESTARTED_UNSELECTED, "interrupted", "interrupted: restarted before the new image was selected") \
    SENTENCE(CRASHED, "crashed", "rolled back: the new image crashed before it was confirmed") \
    SENTENCE(HUNG, "hung", "rolled back: the new image hung before it was confirmed") \
    SENTENCE(RESTARTED, "restarted", "rolled back: the new image restarted before it was confirmed") \
    SENTENCE(POWER_LOST, "power_lost", "rolled back: the power was lost") \
    SENTENCE(NOT_BOOTABLE, "not_bootable", "rolled back: the new image did not start") \
    SENTENCE(NOT_CONFIRMED, "not_confirmed", "rolled back: not confirmed in its first boot") \
    SENTENCE(CHECK_FAILED, "check_failed", "rolled back: ~") \
    SENTENCE(NOT_WELL, "check_failed", "rolled back: not well within # s") \
    SENTENCE(BROKER_NOT_REACHED, "broker_not_reached", "rolled back: the broker was not reached within # s") \
/* clang-format on */

#endif
