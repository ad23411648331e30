/* Stand-in for esp_event.h: what the example uses of it, and no more. Source: ESP-IDF v5.1, components/esp_event/include/esp_event.h */
#ifndef STAND_IN_ESP_EVENT
#define STAND_IN_ESP_EVENT

#include <stdint.h>

#include "esp_err.h"

#define ESP_EVENT_ANY_ID (-1)

typedef const char *esp_event_base_t;
typedef void (*esp_event_handler_t)(void *event_handler_arg, esp_event_base_t event_base, int32_t event_id, void *event_data);

esp_err_t esp_event_loop_create_default(void);
esp_err_t esp_event_handler_register(esp_event_base_t event_base, int32_t event_id, esp_event_handler_t event_handler,
                                     void *event_handler_arg);

#endif
