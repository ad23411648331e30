/* Stand-in for esp_system.h: what this library uses of it, and no more. Source: components/esp_system/include/esp_system.h; esp_chip_info_t: the same (4.4), components/esp_hw_support/include/esp_chip_info.h (5.1) */
#ifndef STAND_IN_ESP_SYSTEM
#define STAND_IN_ESP_SYSTEM

#include <stdint.h>

#include "esp_err.h"

typedef enum {
    ESP_RST_UNKNOWN,
    ESP_RST_POWERON,
    ESP_RST_EXT,
    ESP_RST_SW,
    ESP_RST_PANIC,
    ESP_RST_INT_WDT,
    ESP_RST_TASK_WDT,
    ESP_RST_WDT,
    ESP_RST_DEEPSLEEP,
    ESP_RST_BROWNOUT,
    ESP_RST_SDIO
} esp_reset_reason_t;

typedef struct {
    int model;
    uint32_t features;
#if defined(ESP_IDF_VERSION) && ESP_IDF_VERSION >= 0x50000
    uint16_t revision;
    uint8_t cores;
#else
    uint8_t cores;
    uint8_t revision;
#endif
} esp_chip_info_t;

#ifdef __cplusplus
extern "C" {
#endif
esp_reset_reason_t esp_reset_reason(void);
void esp_restart(void);
void esp_chip_info(esp_chip_info_t *out_info);
#ifdef __cplusplus
}
#endif

#endif
