/* Stand-in for esp_wifi.h: what the example uses of it, and no more. Source: ESP-IDF v5.1, components/esp_wifi/include/esp_wifi.h, esp_wifi_types.h, esp_wifi_default.h */
#ifndef STAND_IN_ESP_WIFI
#define STAND_IN_ESP_WIFI

#include <stdint.h>

#include "esp_event.h"
#include "esp_netif.h"

typedef struct {
    int magic;
} wifi_init_config_t;
typedef union {
    struct {
        uint8_t ssid[32];
        uint8_t password[64];
    } sta;
} wifi_config_t;
typedef enum { WIFI_MODE_NULL, WIFI_MODE_STA } wifi_mode_t;
typedef enum { WIFI_IF_STA } wifi_interface_t;
enum { WIFI_EVENT_STA_START = 2, WIFI_EVENT_STA_DISCONNECTED = 5 };

#define WIFI_INIT_CONFIG_DEFAULT() {0x1F2F3F4F}

extern esp_event_base_t const WIFI_EVENT;

esp_netif_t *esp_netif_create_default_wifi_sta(void);
esp_err_t esp_wifi_init(const wifi_init_config_t *config);
esp_err_t esp_wifi_set_mode(wifi_mode_t mode);
esp_err_t esp_wifi_set_config(wifi_interface_t interface, wifi_config_t *conf);
esp_err_t esp_wifi_start(void);
esp_err_t esp_wifi_connect(void);

#endif
