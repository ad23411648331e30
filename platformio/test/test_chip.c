/* The chip's model against what two real bootloaders did: the cases that the virtual device's model is held against too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "esp_ota_ops.h"
#include "test_update.h"
#include "world.h"

#define CASES "../crates/virtual-device/tests/data/bootloader-vectors.csv"

static const struct {
    const char *word;
    uint32_t state;
} STATES[] = {{"NEW", ESP_OTA_IMG_NEW},         {"PENDING", ESP_OTA_IMG_PENDING_VERIFY}, {"VALID", ESP_OTA_IMG_VALID},
              {"INVALID", ESP_OTA_IMG_INVALID}, {"ABORTED", ESP_OTA_IMG_ABORTED},        {"UNDEF", (uint32_t)ESP_OTA_IMG_UNDEFINED}};

/* `2/NEW`, `2/UNDEF/badcrc`, `1/74565`; `empty` leaves it so. */
static void set_entry(uint32_t number, const char *text) {
    struct chip_entry entry = {0, 0, strstr(text, "/badcrc") == NULL};
    char *slash = NULL;
    if (strcmp(text, "empty") == 0) {
        return;
    }
    entry.sequence = (uint32_t)strtoul(text, &slash, 10);
    entry.state = (uint32_t)strtoul(&slash[1], NULL, 10);
    for (size_t i = 0; i < sizeof STATES / sizeof STATES[0]; i++) {
        if (strncmp(&slash[1], STATES[i].word, strlen(STATES[i].word)) == 0) {
            entry.state = STATES[i].state;
        }
    }
    chip_set_entry(number, &entry);
}

static void write_entry(uint32_t number, char *out, size_t out_bytes) {
    const struct chip_entry entry = chip_entry(number);
    const char *const crc = entry.has_good_crc ? "crcOK" : "crcBAD";
    if (entry.sequence == UINT32_MAX) {
        (void)snprintf(out, out_bytes, "empty");
        return;
    }
    (void)snprintf(out, out_bytes, "%u/0x%x/%s", (unsigned)entry.sequence, (unsigned)entry.state, crc);
    for (size_t i = 0; i < sizeof STATES / sizeof STATES[0]; i++) {
        if (entry.state == STATES[i].state) {
            (void)snprintf(out, out_bytes, "%u/%s/%s", (unsigned)entry.sequence, STATES[i].word, crc);
        }
    }
}

static void damage(const char *slots) {
    if (strncmp(slots, "A:", 2) == 0 || strncmp(slots, "both", 4) == 0) {
        chip_slot(0)[5000] ^= 1;
    }
    if (strncmp(slots, "B:", 2) == 0 || strncmp(slots, "both", 4) == 0) {
        chip_slot(1)[5000] ^= 1;
    }
}

/* A line's boots, one after another. */
static void boot_through(char *boots) {
    for (char *boot = strtok(boots, ">\n"); boot != NULL; boot = strtok(NULL, ">\n")) {
        char entries[2][64];
        char said[160];
        boot += strspn(boot, " ");
        boot[strcspn(boot, "\r")] = '\0';
        while (boot[0] != '\0' && boot[strlen(boot) - 1] == ' ') {
            boot[strlen(boot) - 1] = '\0';
        }
        const bool boots_now = chip_boot(ESP_RST_POWERON);
        write_entry(0, entries[0], sizeof entries[0]);
        write_entry(1, entries[1], sizeof entries[1]);
        (void)snprintf(said, sizeof said, "%c: %s , %s", boots_now ? (chip->running == 0 ? 'A' : 'B') : '-', entries[0], entries[1]);
        if (boots_now || boot[1] == ':') {
            CHECK_TEXT(boot, said);
        }
    }
}

void test_chip(void) {
    static uint8_t image[FILE_BYTES];
    const struct image_options options = image_options("1.0.0", 20000);
    const size_t length = image_build(&options, image);
    char line[1024];
    unsigned cases = 0;
    FILE *const file = fopen(CASES, "r");
    trying("%s", CASES);
    CHECK(file != NULL && fgets(line, sizeof line, file) != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        char *fields[5] = {line, NULL, NULL, NULL, NULL};
        for (size_t i = 1; i < 5; i++) {
            fields[i] = strchr(fields[i - 1], ';');
            CHECK(fields[i] != NULL);
            *fields[i] = '\0';
            fields[i]++;
        }
        /* A factory app is none of this model's. */
        if (strstr(fields[3], "factory") != NULL) {
            continue;
        }
        trying("%s;%s;%s;%s", fields[0], fields[1], fields[2], fields[3]);
        chip_make(image, length, strcmp(fields[0], "on") == 0);
        memcpy(chip_slot(1), image, length);
        set_entry(0, fields[1]);
        set_entry(1, fields[2]);
        damage(fields[3]);
        boot_through(fields[4]);
        cases++;
    }
    (void)fclose(file);
    CHECK(cases > 100);
}
