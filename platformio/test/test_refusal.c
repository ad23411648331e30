/* Images that are not for this device, before anything is erased; and those that are damaged. */
#include <string.h>

#include "check.h"
#include "test_update.h"
#include "world.h"

static struct world world;

static void refused_untouched(const struct image_options *options, const char *status) {
    trying("%s", status);
    world_make(&world, options, true);
    memset(chip_slot(1), 0xA5, CHIP_SLOT_BYTES);
    world_update(&world);
    CHECK_TEXT(world.last_status, status);
    CHECK(chip->running == 0 && chip_slot(1)[0] == 0xA5 && chip_slot(1)[CHIP_SLOT_BYTES - 1] == 0xA5);
}

static void images_for_others_do_not_touch_the_slot(void) {
    struct image_options options = image_options("1.1.0", 100000);
    options.chip = 5;
    refused_untouched(&options, "FAILED wrong chip: the image is for esp32c3, this device is esp32s3 [wrong_chip]");
    options.chip = 0xAB0;
    refused_untouched(&options, "FAILED wrong chip: the image is for an unknown chip 0xab0, this device is esp32s3 [wrong_chip]");
    options = image_options("1.1.0", 100000);
    options.project = "toaster";
    refused_untouched(&options, "FAILED the image is of another project, this device runs lamp [wrong_project]");
    options = image_options("1.1.0", 100000);
    options.flash_mode = 0;
    refused_untouched(&options, "FAILED the image has flash mode qio, the running one has dio [flash_mode]");
    options = image_options("1.1.0", CHIP_SLOT_BYTES);
    refused_untouched(&options, "FAILED the image is too large: 262480 bytes, the slot has 262144 [too_large]");
    options = image_options("1.1.0", 100000);
    options.has_no_digest = true;
    refused_untouched(&options, "FAILED neither digest nor signature [unprotected]");
}

static void there_is_no_way_back(void) {
    struct image_options options = image_options("1.1.0", 100000);
    options.secure_version = 3;
    world_make(&world, &options, true);
    world_update(&world);
    CHECK_TEXT(world.last_status, "SUCCESS");
    CHECK_TEXT(world.last_report, "\"secure_version\":3");
    options.secure_version = 2;
    world.file_bytes = image_build(&options, world.file);
    world.etag = "\"lower\"";
    world_update(&world);
    CHECK_TEXT(world.last_status, "FAILED secure version 2 instead of 3 or more [secure_version]");
}

static void an_image_under_another_versions_name_is_refused(void) {
    const struct image_options options = image_options("1.2.0", 100000);
    refused_untouched(&options, "FAILED the image is not 1.1.0, as the server named it [wrong_version]");
}

static void a_damaged_image_is_refused_and_counted(void) {
    const struct image_options options = image_options("1.1.0", 100000);
    world_make(&world, &options, true);
    trying("damaged");
    world.file[5000] ^= 1;
    for (int attempt = 0; attempt < 2; attempt++) {
        world_update(&world);
        CHECK_TEXT(world.last_status, "FAILED the image is damaged: checksum 0x");
        CHECK_TEXT(world.last_status, "[damaged]");
        CHECK(chip->running == 0 && !chip_holds_image(1));
    }
    world_update(&world);
    CHECK_TEXT(world.last_status, "FAILED quarantined: it failed twice here [quarantined]");
    world_make(&world, &options, true);
    memset(&world.file[world.file_bytes], 7, 100);
    world.file_bytes += 100;
    world_update(&world);
    CHECK_TEXT(world.last_status, "and no signature follows [trailing_bytes]");
    memcpy(world.file, "<html>no such file</html>", 25);
    world.etag = "\"other\"";
    world_update(&world);
    CHECK_TEXT(world.last_status, "FAILED not an ESP32 image: it begins with 0x3c [not_an_image]");
}

static void update_signed(const uint8_t *keys, size_t count, uint32_t required) {
    static uint8_t trusted[2][UPDRAFT_SHA256_BYTES];
    const struct image_options options = image_options("1.1.0", 100000);
    world_make(&world, &options, true);
    key_digest(1, trusted[0]);
    key_digest(2, trusted[1]);
    if (count > 0) {
        world.file_bytes = image_sign(world.file, world.file_bytes, keys, count);
    }
    world.config.trusted_keys = (const uint8_t(*)[UPDRAFT_SHA256_BYTES])trusted;
    world.config.trusted_key_count = 2;
    world.config.signatures_required = required;
    trying("%u signatures, %u wanted", (unsigned)count, (unsigned)required);
}

static void signatures_of_trusted_keys_count(void) {
    const uint8_t one[] = {1};
    const uint8_t both[] = {1, 2};
    const uint8_t twice[] = {2, 2};
    const uint8_t other[] = {3};
    update_signed(one, 0, 1);
    world_update(&world);
    CHECK_TEXT(world.last_status, "FAILED the image is not signed [unsigned]");
    update_signed(other, 1, 1);
    world_update(&world);
    CHECK_TEXT(world.last_status, "FAILED not signed by a trusted key [untrusted_key]");
    update_signed(one, 1, 1);
    world_update(&world);
    CHECK_TEXT(world.last_status, "SUCCESS");
    CHECK_TEXT(world.last_report, "\"lacks\":[\"crash_loops\"]");
    update_signed(one, 1, 2);
    world_update(&world);
    CHECK_TEXT(world.last_status, "FAILED signed by 1 trusted keys instead of 2 [too_few_signatures]");
    update_signed(twice, 2, 2);
    world_update(&world);
    CHECK_TEXT(world.last_status, "[too_few_signatures]");
    update_signed(both, 2, 2);
    world_update(&world);
    CHECK_TEXT(world.last_status, "SUCCESS");
    update_signed(one, 1, 1);
    world.file[5000] ^= 1;
    world_update(&world);
    CHECK_TEXT(world.last_status, "[damaged]");
}

void test_refusal(void) {
    images_for_others_do_not_touch_the_slot();
    an_image_under_another_versions_name_is_refused();
    there_is_no_way_back();
    a_damaged_image_is_refused_and_counted();
    signatures_of_trusted_keys_count();
}
