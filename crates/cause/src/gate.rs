//! What the gate finds in an image. A sentence begins small, as it may be a part of a longer one.

/// Whose descriptor an image carries that is not its own: `empty`, `library`, `missing`.
macro_rules! descriptor {
    ($before:literal, $behind:literal) => {
        concat!(
            $before,
            "[an empty descriptor, as some builds of the Arduino core leave it{empty?}]",
            "[the descriptor of the library that it links (\"{library}\"), as Arduino and PlatformIO builds do]",
            "[no application descriptor{missing?}]",
            $behind
        )
    };
}

crate::entry::table! {
    REFUSED "refused_by_gate" "{why}[; also refused: {also}]";

    NOT_AN_IMAGE "not_an_image" "{fault}; publish the firmware.bin that the build for an ESP32 leaves";
    MERGED_IMAGE "merged_image" "this is a merged flash image (bootloader, [partition table at {table}, ]application)[ that holds {applications}], not an application; publish the build's own firmware.bin, or cut the application out[ that an update brings, {name}], which lies at {offset}[, if the application lies where it usually does{guessed?}]: `{command} > firmware.bin`[; what it begins with, the bootloader, is damaged{corrupt?}]";
    TRUNCATED "truncated_image" "the image is cut short: it has {size} bytes, but its header and segments need at least {at_least}; copy it from the build again, or build it again";
    CORRUPT "corrupt_image" "{fault}; copy it from the build again, or build it again";
    TRAILING_BYTES "trailing_bytes" "the image ends at byte {end}, but the file goes on with [{count} bytes of {padding}, as if it were padded][something that is not a signature{foreign?}]; publish the firmware.bin as the build left it";
    MISALIGNED "misaligned_segment" "{fault}; make it with the build's own tools (`esptool elf2image`)";
    TOO_LONG "image_too_long" "{fault}; publish the application alone (firmware.bin), or make it smaller";
    MALFORMED_SIGNATURE "malformed_signature" "{fault}; sign it again, as it was built";
    BAD_SIGNATURE "bad_signature" "no signature of the image is good (signature block {block}: {fault}); sign the image again, as it was built";

    UNPROTECTED "unprotected_image" "the image has neither a SHA-256 digest at its end nor a signature, so that nothing but a checksum of one byte shows damage, and Updraft's agent refuses it; make it as esptool does unless it is told not to append the digest";
    UNKNOWN_CHIP "unknown_chip" "the image is for a chip that this Updraft does not know (id {id}); a newer Updraft may know it";
    WRONG_CHIP "image_wrong_chip" "the image is for {image}, but the devices of {product} are {expected}; build it for {expected}, or publish it for another product";
    TOO_LARGE "image_too_large" "the image has {size} bytes, but the smallest slot of {product} has {slot_bytes} ([the device {device} reports it][slot_bytes in its product.json{written?}]); make it smaller";
    NEARLY_FULL "nearly_full" "the image fills {percent} % of the smallest slot of {product}: {size} of {slot_bytes} bytes[ (bytes so far: {history})]; slots cannot be enlarged over the air, so make room before it is full";
    UNSIGNED "unsigned" "the image is not signed, and {product} trusts the key[s{several?}] {trusted} (trusted_keys in its product.json); sign it";
    UNTRUSTED_KEY "untrusted_key" "the image is signed by the key[s{several_signers?}] {signers}, and {product} trusts the key[s{several?}] {trusted} (trusted_keys in its product.json); sign it with a trusted key, or add the new key to trusted_keys first";
    TOO_FEW_SIGNATURES "too_few_signatures" "the image is signed by {count} of the keys that {product} trusts ({signers}), and {required} of them must sign (signatures_required in its product.json); sign it with another of the keys {trusted} too";

    NO_VERSION "no_version" descriptor!("the image does not carry a version of its own: it has ", "; say which version it is");
    NO_SUCH_VERSION "no_such_version" "the image calls its version \"{says}\", but {why}; say which version it is";
    NOT_SEMVER "not_semver" "\"{version}\" is no SemVer version, and only under such a one an image is published, so that every program sorts releases alike; build and publish it as three numbers, such as 1.2.0 (a build number as 0.77.0, a date as 2024.10.1, what is not released yet as 1.2.0-rc.1)";
    REQUIRES_A_NAME "requires_a_name" "it requires \"{requires}\", which is a name: no version is higher than that; require a version such as 1.0.0";
    DESCRIPTOR "foreign_descriptor" descriptor!("the image has ", ", so nothing in it confirms that it is {product} {version}");
    VERSION_MISMATCH "version_mismatch" "the image calls its version \"{says}\", and it is published as {version}: Updraft's agent refuses an image under another version than its own, and any other device reports what its image says; build it with {version} as its version, or publish it under the one that it says";
    STAMPED_OTHERWISE "stamped_otherwise" "the image is stamped as {says}, and it is to be published as {product} {version}: a device refuses an image under another name than its own; stamp it anew, before it is signed, or publish it as what it is";

    TAKEN "version_taken" "version {version} of {product} is already published with other bytes, and a published version never changes; publish this image under a higher version";
    BEING_PUBLISHED "version_being_published" "somebody else is publishing {version} of {product} with other bytes (their image is there since {since}, and no version.txt yet); if that was a job of your own that was killed, publish this image after {until}, or the very image of that job at once";
    TAKEN_AND_REPLACED "version_taken_and_replaced" "version {version} of {product} is already published with other bytes (sha256 {sha256}), which this image replaced when it was published at the same time: publish those bytes again, which repairs it, and this image under a higher version";
    TAKEN_BY_PRODUCTION "version_taken_by_production" "{version} is in production of {product} with other bytes, put there by another program, and a version never changes; publish this image under a higher version";
    SAME_BYTES "same_bytes" "these very bytes are published as {twin} already; as [{version}][another version{unnamed?}] they would be one image with two names, and devices that run {twin} would be offered what they have: was the new one built?";
    LOWER_VERSION "lower_version" "production is {production} already, and {version} is lower; publish it under a higher version";
    FLASH_MODE "flash_mode" "the image wants flash mode {now}, and {production} in production has {was}: a bootloader or flash chip in the field that cannot do {now} does not start it; build it with {was}, or try it on one device of every kind";
    SECURE_VERSION "secure_version" "the image's secure version is {now}, and that of {production} in production is {was}: a device that has burnt {was} into its fuses never starts it; raise CONFIG_BOOTLOADER_APP_SECURE_VERSION";
    SECURE_FLOOR "secure_floor" "the image's secure version is {now}, and {product} takes none below {floor} (secure_version in its product.json), since a release below it was blocked for its security: devices would run what they ought to be kept from; raise it (CONFIG_BOOTLOADER_APP_SECURE_VERSION, or a stamp)";
    MMU_PAGE_SIZE "mmu_page_size" "the image is linked for memory pages of {now} bytes, and {production} in production for {was}: a bootloader in the field maps it wrongly, and Updraft's agent refuses it; build it with {was} (CONFIG_MMU_PAGE_SIZE)";
    OTHER_PROJECT "other_project" "the image calls its project \"{now}\", and {production} in production is of \"{was}\": Updraft's agent takes no image of another project than it runs; build it under the old name, or publish it for a product of its own";
    CHIP_REVISION "chip_revision_narrowed" "the image runs on chips of revision {now}, and {production} in production on {was}: devices with other chips do not start it; set the revisions as they were (the sdkconfig's REV_MIN and REV_MAX), or be sure that there are no such devices";
    EFUSE_REVISION "efuse_revision_narrowed" "the image runs on chips whose eFuse block has revision {now}, and {production} in production on {was}: devices with other chips do not start it; set the revisions as they were, or be sure that there are no such devices";
    IDF_VERSION "idf_version" "the image is built with ESP-IDF {now}, and {production} in production with {was}: the bootloader in the field stays as it is, and may not start an image of another ESP-IDF; try it on one device first";
}
