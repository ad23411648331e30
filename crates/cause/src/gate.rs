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
    /// All refusals of one image: the first one's sentence, and the names of the others. `why also`
    REFUSED "refused_by_gate" "{why}[; also refused: {also}]";

    /// `fault`: what the bytes are.
    NOT_AN_IMAGE "not_an_image" "{fault}; publish the firmware.bin that the build for an ESP32 leaves";
    /// A program for RAM, a bootloader. `fault`
    NOT_AN_APPLICATION "not_an_application" "{fault}";
    /// `table offset guessed command corrupt`
    MERGED_IMAGE "merged_image" "this is a merged flash image (bootloader, [partition table at {table}, ]application), not an application; publish the build's own firmware.bin, or cut the application out, which lies at {offset}[, if the application lies where it usually does{guessed?}]: `{command} > firmware.bin`[; what it begins with, the bootloader, is damaged{corrupt?}]";
    /// `size at_least`
    TRUNCATED "truncated_image" "the image is cut short: it has {size} bytes, but its header and segments need at least {at_least}; copy it from the build again, or build it again";
    /// A byte is not what the build wrote. `fault`
    CORRUPT "corrupt_image" "{fault}; copy it from the build again, or build it again";
    /// `end`
    TRAILING_BYTES "trailing_bytes" "the image ends at byte {end}, but the file goes on with something that is not a signature; publish the firmware.bin as the build left it";
    /// `fault`
    MISALIGNED "misaligned_segment" "{fault}; make it with the build's own tools (`esptool elf2image`)";
    /// No flash holds it. `fault`
    TOO_LONG "image_too_long" "{fault}; publish the application alone (firmware.bin), or make it smaller";
    /// Its signature sector is malformed. `fault`
    MALFORMED_SIGNATURE "malformed_signature" "{fault}; sign it again, as it was built";
    /// `block fault`
    BAD_SIGNATURE "bad_signature" "no signature of the image is good (signature block {block}: {fault}); sign the image again, as it was built";

    /// `id`
    UNKNOWN_CHIP "unknown_chip" "the image is for a chip that this Updraft does not know (id {id}); a newer Updraft may know it";
    /// `image product expected`
    WRONG_CHIP "image_wrong_chip" "the image is for {image}, but the devices of {product} are {expected}; build it for {expected}, or publish it for another product";
    /// `size product slot_bytes`, and where that is from: `device` or `written`
    TOO_LARGE "image_too_large" "the image has {size} bytes, but the smallest slot of {product} has {slot_bytes} ([the device {device} reports it][slot_bytes in its product.json{written?}]); make it smaller";
    /// `percent product size slot_bytes history`
    NEARLY_FULL "nearly_full" "the image fills {percent} % of the smallest slot of {product}: {size} of {slot_bytes} bytes[ (bytes so far: {history})]; slots cannot be enlarged over the air, so make room before it is full";
    /// `product trusted several`
    UNSIGNED "unsigned" "the image is not signed, and {product} trusts the key[s{several?}] {trusted} (trusted_keys in its product.json); sign it";
    /// `signers several_signers product trusted several`
    UNTRUSTED_KEY "untrusted_key" "the image is signed by the key[s{several_signers?}] {signers}, and {product} trusts the key[s{several?}] {trusted} (trusted_keys in its product.json); sign it with a trusted key, or add the new key to trusted_keys first";

    /// Nobody says which version it is. `empty library missing`
    NO_VERSION "no_version" descriptor!("the image does not carry a version of its own: it has ", "; say which version it is");
    /// `says why`
    NO_SUCH_VERSION "no_such_version" "the image calls its version \"{says}\", but {why}; say which version it is";
    /// `empty library missing product version`
    DESCRIPTOR "foreign_descriptor" descriptor!("the image has ", ", so nothing in it confirms that it is {product} {version}; nothing is to be done, and \"descriptor\" in gate.allow of product.json silences this");
    /// `says version`
    VERSION_MISMATCH "version_mismatch" "the image calls its version \"{says}\", and it is published as {version}: a device that reports what its image says will not be seen to run {version}; build it with {version} as its version, or publish it under the one that it says";

    /// `version product`, and `overtaken`: another spelling, which came too late
    TAKEN "version_taken" "version {version} of {product} is already published with other bytes, and a published version never changes; publish this image under a higher version[ ({overtaken} is there too: its publisher was so slow that {version} had been published meanwhile, and a version must be one image; remove the version.txt of {overtaken})]";
    /// `version product sha256`
    TAKEN_AND_REPLACED "version_taken_and_replaced" "version {version} of {product} is already published with other bytes (sha256 {sha256}), which this image replaced when it was published at the same time: publish those bytes again, which repairs it, and this image under a higher version";
    /// `version product`
    TAKEN_BY_PRODUCTION "version_taken_by_production" "{version} is in production of {product} with other bytes, put there by another program, and a version never changes; publish this image under a higher version";
    /// `twin`, and `version` or `unnamed`
    SAME_BYTES "same_bytes" "these very bytes are published as {twin} already; as [{version}][another version{unnamed?}] they would be one image with two names, and devices that run {twin} would be offered what they have: was the new one built?";
    /// `production version`
    LOWER_VERSION "lower_version" "production is {production} already, and {version} is lower; publish it under a higher version";
    /// `now production was`
    FLASH_MODE "flash_mode" "the image wants flash mode {now}, and {production} in production has {was}: a bootloader or flash chip in the field that cannot do {now} does not start it; build it with {was}, or try it on one device of every kind";
    /// `now production was`
    SECURE_VERSION "secure_version" "the image's secure version is {now}, and that of {production} in production is {was}: a device that has burnt {was} into its fuses never starts it; raise CONFIG_BOOTLOADER_APP_SECURE_VERSION";
    /// `now production was`
    IDF_VERSION "idf_version" "the image is built with ESP-IDF {now}, and {production} in production with {was}: the bootloader in the field stays as it is, and may not start an image of another ESP-IDF; try it on one device first";
}
