/* Stand-in for esp_partition.h: what this library uses of it, and no more. Source: components/spi_flash/include/esp_partition.h (4.4), components/esp_partition/include/esp_partition.h (5.1) */
#ifndef STAND_IN_ESP_PARTITION
#define STAND_IN_ESP_PARTITION

#include <stddef.h>
#include <stdint.h>

#include "esp_err.h"

typedef enum {
    ESP_PARTITION_SUBTYPE_APP_FACTORY = 0x00,
    ESP_PARTITION_SUBTYPE_APP_OTA_0 = 0x10,
    ESP_PARTITION_SUBTYPE_APP_OTA_1 = 0x11
} esp_partition_subtype_t;

typedef struct {
    esp_partition_subtype_t subtype;
    uint32_t address;
    uint32_t size;
    char label[17];
} esp_partition_t;

#ifdef __cplusplus
extern "C" {
#endif
esp_err_t esp_partition_read(const esp_partition_t *partition, size_t src_offset, void *dst, size_t size);
esp_err_t esp_partition_write(const esp_partition_t *partition, size_t dst_offset, const void *src, size_t size);
esp_err_t esp_partition_erase_range(const esp_partition_t *partition, size_t offset, size_t size);
#ifdef __cplusplus
}
#endif

#endif
