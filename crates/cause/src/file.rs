//! What a file is that is no application image: each kind by its name, and what to send instead.

/// Where the tools of these chips leave the application's image.
macro_rules! instead {
    ($($before:literal),* $(,)?) => {
        concat!(
            $($before,)*
            "publish the application's own image: PlatformIO leaves it as .pio/build/ENVIRONMENT/firmware.bin, ESP-IDF as build/PROJECT.bin, the Arduino IDE (Export Compiled Binary) as SKETCH.ino.bin"
        )
    };
}

/// A file that holds another one.
macro_rules! packed {
    ($what:literal, $command:literal) => {
        concat!(
            "this is not an ESP32 application image, but ",
            $what,
            ", and devices unpack nothing; unpack it (`",
            $command,
            "`) and publish the firmware.bin in it"
        )
    };
}

/// A part of the flash chip that is not an application.
macro_rules! partition {
    ($what:literal) => {
        instead!(
            "this is not an ESP32 application image, but ",
            $what,
            ", which lies in a partition of its own; "
        )
    };
}

crate::entry::table! {
    EMPTY "file_is_empty" instead!("this is not an ESP32 application image: it is empty, as a build, a download or an upload leaves a file that broke off; ");
    ERASED "file_is_erased_flash" instead!("this is not an ESP32 application image: there is nothing in it but bytes of {byte}, as in erased flash or a file that was made and not filled; ");
    HTML "file_is_html" "this is not an ESP32 application image, but an HTML page, as a server answers where a file is not there, or wants a login first; download the file itself (of a forge the raw file or the release's asset, not the page about it), and publish that";
    XML "file_is_xml" "this is not an ESP32 application image, but an XML document, as a store of S3's kind answers where it refuses[ (its code is {code})]; download the file itself, and publish that";
    JSON "file_is_json" "this is not an ESP32 application image, but a JSON document, as an API answers[ (its message is \"{message}\")]; download the file itself (of GitHub's API with `Accept: application/octet-stream`), and publish that";
    HTTP_ANSWER "file_is_http_answer" "this is not an ESP32 application image, but a whole HTTP answer with its header, as `curl -i` writes it; download the file without its header, and publish that";
    MULTIPART "file_is_multipart" "this is not an ESP32 application image, but the body of a form (multipart/form-data) with a file in it, as `curl -F` sends one; send the file's bytes alone, as `curl --data-binary @firmware.bin` or `curl -T firmware.bin` does";
    LFS_POINTER "file_is_lfs_pointer" "this is not an ESP32 application image, but a pointer of Git LFS, and not the file itself; fetch that with `git lfs pull` (of GitHub's actions/checkout with `lfs: true`), and publish it";
    ANNEX_POINTER "file_is_annex_pointer" "this is not an ESP32 application image, but a pointer of git-annex, and not the file itself; fetch that with `git annex get`, and publish it";
    GZIP "file_is_gzip" packed!("compressed with gzip", "gunzip");
    ZIP "file_is_zip" packed!("a ZIP archive, as artifacts of CI systems are", "unzip");
    XZ "file_is_xz" packed!("compressed with xz", "unxz");
    LZMA "file_is_lzma" packed!("compressed with LZMA", "unlzma");
    BZIP2 "file_is_bzip2" packed!("compressed with bzip2", "bunzip2");
    ZSTD "file_is_zstd" packed!("compressed with Zstandard", "unzstd");
    LZ4 "file_is_lz4" packed!("compressed with LZ4", "unlz4");
    LZIP "file_is_lzip" packed!("compressed with lzip", "lzip -d");
    COMPRESS "file_is_compress" packed!("compressed with compress", "uncompress");
    ZLIB "file_is_zlib" packed!("compressed with zlib", "zlib-flate -uncompress");
    SEVEN_ZIP "file_is_7z" packed!("a 7z archive", "7z x");
    RAR "file_is_rar" packed!("a RAR archive", "unrar x");
    TAR "file_is_tar" packed!("a tar archive", "tar -xf");
    CPIO "file_is_cpio" packed!("a cpio archive", "cpio -i");
    AR "file_is_ar" instead!("this is not an ESP32 application image, but a library of object files (ar), of which a program is linked; ");
    ELF "file_is_elf" instead!("this is not an ESP32 application image, but an ELF file[ of one, which debuggers read{is_ours?}][ for {machine}, which is no ESP32], and not what lies in flash; ");
    UF2 "file_is_uf2" instead!("this is not an ESP32 application image, but a UF2 file, which is copied to a board that shows itself as a USB drive; ");
    INTEL_HEX "file_is_intel_hex" instead!("this is not an ESP32 application image, but an Intel HEX file, which programmers of other chips take; ");
    S_RECORD "file_is_s_record" instead!("this is not an ESP32 application image, but a Motorola S-record file, which programmers of other chips take; ");
    BASE64 "file_is_base64" "this is an ESP32 application image in Base64, and not in its own bytes; decode it (`base64 -d`), and publish that";
    HEX_DUMP "file_is_hex_dump" "this is an ESP32 application image in hexadecimal digits, and not in its own bytes; turn it back (`xxd -r -p`), and publish that";
    MANGLED "file_is_mangled" "this was an ESP32 application image perhaps, but some program took it for text and wrote it anew, which destroys it; transfer it as binary, and publish it as the build left it";
    LITTLEFS "file_is_littlefs" partition!("an image of a LittleFS file system (`pio run -t buildfs`)");
    SPIFFS "file_is_spiffs" partition!("an image of a SPIFFS file system (`pio run -t buildfs`)");
    FAT "file_is_fat" partition!("an image of a FAT file system");
    PARTITION_TABLE "file_is_partition_table" partition!("a partition table (partitions.bin, partition-table.bin)");
    PARTITION_CSV "file_is_partition_csv" partition!("the text that a partition table is made of (partitions.csv)");
    NVS "file_is_nvs" partition!("an image of an NVS partition (settings and keys)");
    OTADATA "file_is_otadata" partition!("the data that selects a slot (boot_app0.bin, ota_data_initial.bin)");
    BOOTLOADER "file_is_bootloader" instead!("this is not an ESP32 application image, but a bootloader or a program for RAM: nothing in it runs from flash; ");
    ESP8266 "file_is_esp8266" instead!("this is not an ESP32 application image, but an image for an ESP8266, which no ESP32 starts; build for an ESP32, and ");
    SECURE_BOOT_V1 "signed_for_secure_boot_v1" "the image is signed for Secure Boot v1, of which a device cannot check the key; only signatures of Secure Boot v2 are supported (RSA-3072, ECDSA P-256): sign the unsigned image with `espsecure sign-data --version 2`, or publish it without a signature";
    PATCH "file_is_patch" "this is not an ESP32 application image, but a difference between two images ({format}), and not an image; publish the whole new image";
    EXECUTABLE "file_is_executable" instead!("this is not an ESP32 application image, but a program for a computer ({format}); ");
    DOCUMENT "file_is_document" instead!("this is not an ESP32 application image, but a {format} file; ");
    TEXT "file_is_text" instead!("this is not an ESP32 application image, but text, which begins with \"{begins}\"; ");
}
