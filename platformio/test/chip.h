/* A chip for the tests: flash in memory, what esp_partition, esp_ota_ops and NVS do with it, the bootloader, and power cuts at
 * any write or erase, whole or half done. Written by ESP-IDF's documentation and by what docs/device.md says was seen. */
#ifndef CHIP_H
#define CHIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "esp_system.h"

#define CHIP_SLOT_BYTES 0x40000U
#define CHIP_NO_SLOT 2U

struct chip_state {
    /* Whether its bootloader rolls back. */
    bool has_rollback;
    /* The operation on flash, counted from 1, at which the power is cut; 0: none. */
    uint32_t cut_at;
    /* Whether it is cut half-way through the operation instead of before it. */
    bool cut_is_torn;
    uint32_t operations;
    bool is_dead;
    bool wants_restart;
    esp_reset_reason_t reset;
    /* The slot that runs; CHIP_NO_SLOT if none boots. */
    uint32_t running;
    bool has_record_space;
};

/* Told when the power is cut; in a test of one process nothing needs to be. */
extern void (*chip_on_cut)(void);

extern struct chip_state *chip;


/* Puts flash and chip into other memory, such as several processes share; so many bytes, and zeros. */
#define CHIP_MEMORY_BYTES (1024U * 1024U)
void chip_move_to(void *memory);
/* A chip as it leaves the factory, with an image in slot 0 and empty otadata. */
void chip_make(const uint8_t *image, size_t image_bytes, bool has_rollback);
/* What the bootloader does at a reset; whether an image runs. */
bool chip_boot(esp_reset_reason_t reset);
/* The slot's bytes; to be looked at, and to be damaged. */
uint8_t *chip_slot(uint32_t slot);
/* One of otadata's two entries; the checksum covers the sequence number alone. */
struct chip_entry {
    uint32_t sequence;
    uint32_t state;
    bool has_good_crc;
};
struct chip_entry chip_entry(uint32_t number);
void chip_set_entry(uint32_t number, const struct chip_entry *entry);
/* Whether a whole image lies in a slot. */
bool chip_holds_image(uint32_t slot);

#endif
