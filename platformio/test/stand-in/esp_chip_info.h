/* Stand-in for esp_chip_info.h: what this library uses of it, and no more. Source: components/esp_hw_support/include/esp_chip_info.h */
#ifndef STAND_IN_ESP_CHIP_INFO
#define STAND_IN_ESP_CHIP_INFO

#include "esp_system.h"

#endif
