/* Flash, otadata and the record, by ESP-IDF.
 *
 * What esp_ota_ops does wrong is mended here: it marks what otadata selects, which is not always what runs. */
#ifdef ESP_PLATFORM

#include <esp_idf_version.h>
#include <esp_ota_ops.h>
#include <esp_partition.h>
#include <esp_system.h>
#include <nvs.h>
#include <nvs_flash.h>
#include <sdkconfig.h>
#include <string.h>
#if ESP_IDF_VERSION >= ESP_IDF_VERSION_VAL(5, 0, 0)
#include <esp_chip_info.h>
#endif
#ifdef CONFIG_BOOTLOADER_APP_ANTI_ROLLBACK
#include <esp_efuse.h>
#endif

#include "parts.h"

/* Arduino's start-up code would confirm every image before setup() runs. No header of it declares this function. */
bool verifyRollbackLater(void);
bool verifyRollbackLater(void) { return true; }

static const char SPACE[] = "updraft";
static const char KEY[] = "record";

static const esp_partition_t *running;
static const esp_partition_t *target;

static const esp_partition_t *partition_of(enum updraft_slot slot) { return slot == UPDRAFT_RUNNING ? running : target; }

static bool read_slot(void *context, enum updraft_slot slot, uint32_t offset, uint8_t *bytes, uint32_t count) {
    (void)context;
    return esp_partition_read(partition_of(slot), offset, bytes, count) == ESP_OK;
}

static bool erase_sector(void *context, uint32_t offset) {
    (void)context;
    return esp_partition_erase_range(target, offset, UPDRAFT_SECTOR_BYTES) == ESP_OK;
}

static bool write_sector(void *context, uint32_t offset, const uint8_t sector[UPDRAFT_SECTOR_BYTES]) {
    (void)context;
    return esp_partition_write(target, offset, sector, UPDRAFT_SECTOR_BYTES) == ESP_OK;
}

static enum updraft_state state_of(void *context, enum updraft_slot slot) {
    esp_ota_img_states_t state = ESP_OTA_IMG_UNDEFINED;
    (void)context;
    if (esp_ota_get_state_partition(partition_of(slot), &state) != ESP_OK) {
        return UPDRAFT_STATE_UNDEFINED;
    }
    switch (state) {
    case ESP_OTA_IMG_NEW:
        return UPDRAFT_STATE_NEW;
    case ESP_OTA_IMG_PENDING_VERIFY:
        return UPDRAFT_STATE_PENDING_VERIFY;
    case ESP_OTA_IMG_VALID:
        return UPDRAFT_STATE_VALID;
    case ESP_OTA_IMG_INVALID:
        return UPDRAFT_STATE_INVALID;
    case ESP_OTA_IMG_ABORTED:
        return UPDRAFT_STATE_ABORTED;
    default:
        return UPDRAFT_STATE_UNDEFINED;
    }
}

/* By an entry of its own: without one the bootloader's default runs, and what is selected next has nothing to go back to. */
static bool runs_selected(void *context) {
    esp_ota_img_states_t state = ESP_OTA_IMG_UNDEFINED;
    (void)context;
    return esp_ota_get_boot_partition() == running && (running->subtype == ESP_PARTITION_SUBTYPE_APP_FACTORY ||
                                                       esp_ota_get_state_partition(running, &state) == ESP_OK);
}

static bool confirm(void *context) {
    if (runs_selected(context) && esp_ota_mark_app_valid_cancel_rollback() == ESP_OK) {
        return true;
    }
    if (esp_ota_set_boot_partition(running) != ESP_OK) {
        return false;
    }
    /* A factory app has no entry to mark: selecting it empties otadata. */
    return running->subtype == ESP_PARTITION_SUBTYPE_APP_FACTORY || esp_ota_mark_app_valid_cancel_rollback() == ESP_OK;
}

static bool select_target(void *context) {
    (void)context;
    return esp_ota_set_boot_partition(target) == ESP_OK;
}

static bool can_leave(void *context) { return runs_selected(context) && esp_ota_check_rollback_is_possible(); }

static bool leave(void *context) {
    (void)context;
    /* It restarts by itself; where it returns, it did not work. */
    return esp_ota_mark_app_invalid_rollback_and_reboot() == ESP_OK;
}

static bool load(void *context, uint8_t record[UPDRAFT_RECORD_BYTES]) {
    nvs_handle_t space;
    size_t length = UPDRAFT_RECORD_BYTES;
    (void)context;
    memset(record, 0, UPDRAFT_RECORD_BYTES);
    if (nvs_open(SPACE, NVS_READWRITE, &space) != ESP_OK) {
        return false;
    }
    const esp_err_t found = nvs_get_blob(space, KEY, record, &length);
    nvs_close(space);
    /* One of another length was written by another version of this library; its tag will not hold. */
    return found == ESP_OK || found == ESP_ERR_NVS_NOT_FOUND || found == ESP_ERR_NVS_INVALID_LENGTH;
}

static bool save(void *context, const uint8_t record[UPDRAFT_RECORD_BYTES]) {
    nvs_handle_t space;
    (void)context;
    if (nvs_open(SPACE, NVS_READWRITE, &space) != ESP_OK) {
        return false;
    }
    /* NVS writes the new blob before it gives up the one before. */
    const bool is_saved = nvs_set_blob(space, KEY, record, UPDRAFT_RECORD_BYTES) == ESP_OK && nvs_commit(space) == ESP_OK;
    nvs_close(space);
    return is_saved;
}

static enum updraft_reset reset_reason(void) {
    switch (esp_reset_reason()) {
    case ESP_RST_POWERON:
    case ESP_RST_EXT:
        return UPDRAFT_RESET_POWER_ON;
    case ESP_RST_SW:
        return UPDRAFT_RESET_SOFTWARE;
    case ESP_RST_PANIC:
        return UPDRAFT_RESET_PANIC;
    case ESP_RST_INT_WDT:
    case ESP_RST_TASK_WDT:
    case ESP_RST_WDT:
        return UPDRAFT_RESET_WATCHDOG;
    case ESP_RST_BROWNOUT:
        return UPDRAFT_RESET_BROWN_OUT;
    case ESP_RST_DEEPSLEEP:
        return UPDRAFT_RESET_DEEP_SLEEP;
    default:
        return UPDRAFT_RESET_UNKNOWN;
    }
}

static uint16_t chip_revision(void) {
    esp_chip_info_t chip;
    esp_chip_info(&chip);
#if ESP_IDF_VERSION >= ESP_IDF_VERSION_VAL(5, 0, 0)
    return chip.revision;
#else
    /* The major one alone; 4.4 has the other in full_revision from 4.4.3 on. */
    return (uint16_t)(chip.revision * 100U + 99U);
#endif
}

const char *updraft_esp_open_port(struct updraft_config *config, struct updraft_port *port) {
    static const struct updraft_port PORT = {NULL,          read_slot,     erase_sector, write_sector, state_of,
                                             runs_selected, confirm,       select_target, can_leave,   leave,
                                             load,          save,          updraft_esp_verify};
    running = esp_ota_get_running_partition();
    target = esp_ota_get_next_update_partition(NULL);
    if (running == NULL || target == NULL || target == running) {
        return "the partition table has no two slots for an image";
    }
    /* Arduino did it already; on a fresh chip, or after a table was changed, it may fail: then there is no record. */
    (void)nvs_flash_init();
    *port = PORT;
    config->chip = (uint16_t)CONFIG_IDF_FIRMWARE_CHIP_ID;
    config->chip_revision = chip_revision();
#ifdef CONFIG_BOOTLOADER_APP_ANTI_ROLLBACK
    config->secure_version = esp_efuse_read_secure_version();
#endif
    config->reset = reset_reason();
    config->slot = running->subtype == ESP_PARTITION_SUBTYPE_APP_FACTORY ? "factory" : running->label;
    config->running_bytes = running->size;
    config->target_bytes = target->size;
    return NULL;
}

#endif
