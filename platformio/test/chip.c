#include "chip.h"

#include <string.h>

#include "esp_ota_ops.h"
#include "nvs_flash.h"
#include "updraft/bytes.h"
#include "updraft/sha256.h"

#define SECTOR 4096U
#define NVS_AT 0U
#define OTADATA_AT (2U * SECTOR)
#define SLOT_AT(slot) (4U * SECTOR + (slot)*CHIP_SLOT_BYTES)
#define FLASH_BYTES SLOT_AT(2U)
#define NOTHING UINT32_MAX

static struct chip_state own_chip;
static uint8_t own_flash[FLASH_BYTES];
struct chip_state *chip = &own_chip;
void (*chip_on_cut)(void);
static uint8_t *flash = own_flash;

void chip_move_to(void *memory) {
    chip = memory;
    flash = (uint8_t *)memory + SECTOR;
}

static const esp_partition_t SLOTS[2] = {{ESP_PARTITION_SUBTYPE_APP_OTA_0, SLOT_AT(0U), CHIP_SLOT_BYTES, "ota_0"},
                                         {ESP_PARTITION_SUBTYPE_APP_OTA_1, SLOT_AT(1U), CHIP_SLOT_BYTES, "ota_1"}};

/* Counts an operation; how many of its bytes are done before the power goes. */
static uint32_t counted(uint32_t count) {
    if (chip->is_dead) {
        return 0;
    }
    chip->operations++;
    if (chip->operations != chip->cut_at) {
        return count;
    }
    chip->is_dead = true;
    return chip->cut_is_torn ? count / 2U + 1U : 0;
}

static bool is_alive(void) {
    if (chip->is_dead && chip_on_cut != NULL) {
        chip_on_cut();
    }
    return !chip->is_dead;
}

static bool program(uint32_t at, const uint8_t *bytes, uint32_t count) {
    const uint32_t done = counted(count);
    for (uint32_t i = 0; i < done; i++) {
        flash[at + i] &= bytes[i];
    }
    return is_alive();
}

static bool erase(uint32_t at) {
    memset(&flash[at], 0xFF, counted(SECTOR));
    return is_alive();
}

/* --- otadata: two sectors with one entry each --- */

struct entry {
    uint32_t sequence;
    uint32_t state;
    bool is_good;
};

static uint32_t crc_of(uint32_t sequence) {
    uint32_t crc = 0;
    for (unsigned i = 0; i < 4; i++) {
        crc ^= (sequence >> (8U * i)) & 0xFFU;
        for (unsigned bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0xEDB88320U : 0U);
        }
    }
    return ~crc;
}

static struct entry entry(uint32_t number) {
    const uint8_t *const bytes = &flash[OTADATA_AT + number * SECTOR];
    struct entry found = {updraft_u32(bytes), updraft_u32(&bytes[24]), false};
    found.is_good = found.sequence != UINT32_MAX && updraft_u32(&bytes[28]) == crc_of(found.sequence) &&
                    found.state != ESP_OTA_IMG_INVALID && found.state != ESP_OTA_IMG_ABORTED;
    return found;
}

static bool write_entry(uint32_t number, uint32_t sequence, uint32_t state) {
    uint8_t bytes[32];
    memset(bytes, 0xFF, sizeof bytes);
    updraft_put_u32(bytes, sequence);
    updraft_put_u32(&bytes[24], state);
    updraft_put_u32(&bytes[28], crc_of(sequence));
    return erase(OTADATA_AT + number * SECTOR) && program(OTADATA_AT + number * SECTOR, bytes, sizeof bytes);
}

/* The number of the entry that decides; NOTHING if neither does. */
static uint32_t active(void) {
    const struct entry first = entry(0);
    const struct entry second = entry(1);
    if (first.is_good && (!second.is_good || first.sequence >= second.sequence)) {
        return 0;
    }
    return second.is_good ? 1 : NOTHING;
}

static uint32_t slot_of(uint32_t number) { return (entry(number).sequence - 1U) % 2U; }

struct chip_entry chip_entry(uint32_t number) {
    const struct entry found = entry(number);
    const uint32_t crc = updraft_u32(&flash[OTADATA_AT + number * SECTOR + 28U]);
    const struct chip_entry seen = {found.sequence, found.state, crc == crc_of(found.sequence)};
    return seen;
}

void chip_set_entry(uint32_t number, const struct chip_entry *wanted) {
    (void)write_entry(number, wanted->sequence, wanted->state);
    flash[OTADATA_AT + number * SECTOR + 28U] ^= wanted->has_good_crc ? 0 : 1;
}

/* --- the bootloader --- */

bool chip_holds_image(uint32_t slot) {
    const uint8_t *const image = &flash[SLOT_AT(slot)];
    uint32_t at = 24;
    uint8_t checksum = 0xEF;
    uint8_t digest[UPDRAFT_SHA256_BYTES];
    if (image[0] != 0xE9 || updraft_u16(&image[12]) != 9) {
        return false;
    }
    for (uint32_t segment = 0; segment < image[1]; segment++) {
        const uint32_t length = updraft_u32(&image[at + 4]);
        if (length > CHIP_SLOT_BYTES - at - 100U) {
            return false;
        }
        at += 8;
        for (uint32_t i = 0; i < length; i++) {
            checksum ^= image[at + i];
        }
        at += length;
    }
    at = at / 16U * 16U + 16U;
    updraft_sha256_of(image, at, digest);
    return image[at - 1] == checksum && (image[23] == 0 || memcmp(digest, &image[at], sizeof digest) == 0);
}

/* Exactly one boot to confirm: NEW becomes PENDING_VERIFY, and PENDING_VERIFY becomes ABORTED. */
static void roll_back(void) {
    for (uint32_t number = 0; number < 2; number++) {
        if (entry(number).state == ESP_OTA_IMG_PENDING_VERIFY) {
            (void)write_entry(number, entry(number).sequence, ESP_OTA_IMG_ABORTED);
        }
    }
    const uint32_t number = active();
    if (number != NOTHING && entry(number).state == ESP_OTA_IMG_NEW) {
        (void)write_entry(number, entry(number).sequence, ESP_OTA_IMG_PENDING_VERIFY);
    }
}

bool chip_boot(esp_reset_reason_t reset) {
    chip->is_dead = false;
    chip->wants_restart = false;
    chip->reset = reset;
    const bool is_fresh = entry(0).sequence == UINT32_MAX && entry(1).sequence == UINT32_MAX;
    if (chip->has_rollback) {
        roll_back();
    }
    const uint32_t number = active();
    const uint32_t selected = number == NOTHING ? 0 : slot_of(number);
    chip->running = CHIP_NO_SLOT;
    if (chip_holds_image(selected)) {
        chip->running = selected;
    } else if (chip_holds_image(1U - selected)) {
        chip->running = 1U - selected;
    }
    if (is_fresh && chip->running != CHIP_NO_SLOT) {
        (void)write_entry(0, chip->running + 1U, ESP_OTA_IMG_VALID);
    }
    return chip->running != CHIP_NO_SLOT && !chip->is_dead;
}

void chip_make(const uint8_t *image, size_t image_bytes, bool has_rollback) {
    memset(chip, 0, sizeof *chip);
    memset(flash, 0xFF, FLASH_BYTES);
    memcpy(&flash[SLOT_AT(0U)], image, image_bytes);
    chip->has_rollback = has_rollback;
    chip->has_record_space = true;
}

uint8_t *chip_slot(uint32_t slot) { return &flash[SLOT_AT(slot)]; }

/* --- esp_partition.h --- */

esp_err_t esp_partition_read(const esp_partition_t *partition, size_t src_offset, void *dst, size_t size) {
    if (chip->is_dead || src_offset + size > partition->size) {
        return ESP_FAIL;
    }
    memcpy(dst, &flash[partition->address + src_offset], size);
    return ESP_OK;
}

esp_err_t esp_partition_write(const esp_partition_t *partition, size_t dst_offset, const void *src, size_t size) {
    if (dst_offset + size > partition->size || partition == &SLOTS[chip->running]) {
        return ESP_FAIL;
    }
    return program(partition->address + (uint32_t)dst_offset, src, (uint32_t)size) ? ESP_OK : ESP_FAIL;
}

esp_err_t esp_partition_erase_range(const esp_partition_t *partition, size_t offset, size_t size) {
    if (offset + size > partition->size || size != SECTOR || partition == &SLOTS[chip->running]) {
        return ESP_FAIL;
    }
    return erase(partition->address + (uint32_t)offset) ? ESP_OK : ESP_FAIL;
}

/* --- esp_ota_ops.h --- */

const esp_partition_t *esp_ota_get_running_partition(void) { return &SLOTS[chip->running]; }

const esp_partition_t *esp_ota_get_next_update_partition(const esp_partition_t *start_from) {
    (void)start_from;
    return &SLOTS[1U - chip->running];
}

const esp_partition_t *esp_ota_get_boot_partition(void) {
    const uint32_t number = active();
    return &SLOTS[number == NOTHING ? 0 : slot_of(number)];
}

static uint32_t number_of(const esp_partition_t *partition) { return partition == &SLOTS[0] ? 0 : 1; }

esp_err_t esp_ota_set_boot_partition(const esp_partition_t *partition) {
    const uint32_t slot = number_of(partition);
    const uint32_t number = active();
    if (chip->is_dead || !chip_holds_image(slot)) {
        return ESP_ERR_OTA_VALIDATE_FAILED;
    }
    uint32_t sequence = slot + 1U;
    while (number != NOTHING && sequence < entry(number).sequence) {
        sequence += 2U;
    }
    return write_entry(number == NOTHING ? 0 : 1U - number, sequence, ESP_OTA_IMG_NEW) ? ESP_OK : ESP_FAIL;
}

esp_err_t esp_ota_get_state_partition(const esp_partition_t *partition, esp_ota_img_states_t *ota_state) {
    for (uint32_t number = 0; number < 2; number++) {
        const struct entry found = entry(number);
        if (found.sequence != UINT32_MAX && slot_of(number) == number_of(partition) &&
            updraft_u32(&flash[OTADATA_AT + number * SECTOR + 28U]) == crc_of(found.sequence)) {
            *ota_state = (esp_ota_img_states_t)found.state;
            return ESP_OK;
        }
    }
    return ESP_ERR_NOT_FOUND;
}

esp_err_t esp_ota_mark_app_valid_cancel_rollback(void) {
    const uint32_t number = active();
    if (number == NOTHING || chip->is_dead) {
        return ESP_FAIL;
    }
    if (entry(number).state == ESP_OTA_IMG_VALID) {
        return ESP_OK;
    }
    return write_entry(number, entry(number).sequence, ESP_OTA_IMG_VALID) ? ESP_OK : ESP_FAIL;
}

bool esp_ota_check_rollback_is_possible(void) {
    const uint32_t number = active();
    return number != NOTHING && entry(1U - number).is_good && chip_holds_image(slot_of(1U - number));
}

esp_err_t esp_ota_mark_app_invalid_rollback_and_reboot(void) {
    const uint32_t number = active();
    if (chip->is_dead || !esp_ota_check_rollback_is_possible()) {
        return ESP_ERR_OTA_ROLLBACK_FAILED;
    }
    if (!write_entry(number, entry(number).sequence, ESP_OTA_IMG_INVALID)) {
        return ESP_FAIL;
    }
    esp_restart();
    return ESP_OK;
}

/* --- esp_system.h --- */

esp_reset_reason_t esp_reset_reason(void) { return chip->reset; }

__attribute__((weak)) void esp_restart(void) { chip->wants_restart = true; }


void esp_chip_info(esp_chip_info_t *out_info) {
    memset(out_info, 0, sizeof *out_info);
    out_info->revision = 0;
}

/* --- NVS: a new blob is written before the one before is given up --- */

#define BLOB_BYTES 2048U

static uint32_t blob_number(uint32_t place) {
    const uint8_t *const bytes = &flash[NVS_AT + place * SECTOR];
    uint8_t digest[UPDRAFT_SHA256_BYTES];
    updraft_sha256_of(bytes, BLOB_BYTES, digest);
    return memcmp(digest, &bytes[BLOB_BYTES], sizeof digest) == 0 ? updraft_u32(bytes) : 0;
}

static uint32_t newest_blob(void) { return blob_number(1) > blob_number(0) ? 1 : 0; }

esp_err_t nvs_flash_init(void) { return ESP_OK; }

esp_err_t nvs_open(const char *namespace_name, nvs_open_mode_t open_mode, nvs_handle_t *out_handle) {
    (void)namespace_name;
    (void)open_mode;
    *out_handle = 1;
    return chip->has_record_space ? ESP_OK : ESP_FAIL;
}

esp_err_t nvs_get_blob(nvs_handle_t handle, const char *key, void *out_value, size_t *length) {
    const uint32_t place = newest_blob();
    (void)handle;
    (void)key;
    if (blob_number(place) == 0) {
        return ESP_ERR_NVS_NOT_FOUND;
    }
    memcpy(out_value, &flash[NVS_AT + place * SECTOR + 4U], *length);
    return ESP_OK;
}

esp_err_t nvs_set_blob(nvs_handle_t handle, const char *key, const void *value, size_t length) {
    static uint8_t bytes[BLOB_BYTES + UPDRAFT_SHA256_BYTES];
    const uint32_t before = newest_blob();
    const uint32_t at = NVS_AT + (1U - before) * SECTOR;
    (void)handle;
    (void)key;
    memset(bytes, 0, sizeof bytes);
    updraft_put_u32(bytes, blob_number(before) + 1U);
    memcpy(&bytes[4], value, length);
    updraft_sha256_of(bytes, BLOB_BYTES, &bytes[BLOB_BYTES]);
    return erase(at) && program(at, bytes, (uint32_t)sizeof bytes) ? ESP_OK : ESP_FAIL;
}

esp_err_t nvs_commit(nvs_handle_t handle) {
    (void)handle;
    return chip->is_dead ? ESP_FAIL : ESP_OK;
}

void nvs_close(nvs_handle_t handle) { (void)handle; }
