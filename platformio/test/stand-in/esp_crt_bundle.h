/* Stand-in for esp_crt_bundle.h: what the example uses of it, and no more. Source: ESP-IDF v5.1, components/mbedtls/esp_crt_bundle/include/esp_crt_bundle.h */
#ifndef STAND_IN_ESP_CRT_BUNDLE
#define STAND_IN_ESP_CRT_BUNDLE

#include "esp_err.h"

esp_err_t esp_crt_bundle_attach(void *conf);

#endif
