/* Stand-in for esp_netif.h: what the example uses of it, and no more. Source: ESP-IDF v5.1, components/esp_netif/include/esp_netif.h */
#ifndef STAND_IN_ESP_NETIF
#define STAND_IN_ESP_NETIF

#include "esp_err.h"

typedef struct esp_netif_obj esp_netif_t;

esp_err_t esp_netif_init(void);

#endif
