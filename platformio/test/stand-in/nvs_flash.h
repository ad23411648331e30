/* Stand-in for nvs_flash.h: what this library uses of it, and no more. Source: components/nvs_flash/include/nvs_flash.h */
#ifndef STAND_IN_NVS_FLASH
#define STAND_IN_NVS_FLASH

#include "nvs.h"

#ifdef __cplusplus
extern "C" {
#endif
esp_err_t nvs_flash_init(void);
#ifdef __cplusplus
}
#endif

#endif
