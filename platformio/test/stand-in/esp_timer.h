/* Stand-in for esp_timer.h: what this library uses of it, and no more. Source: components/esp_timer/include/esp_timer.h */
#ifndef STAND_IN_ESP_TIMER
#define STAND_IN_ESP_TIMER

#include <stdbool.h>
#include <stdint.h>

#include "esp_err.h"

typedef struct esp_timer *esp_timer_handle_t;
typedef void (*esp_timer_cb_t)(void *arg);
typedef struct {
    esp_timer_cb_t callback;
    void *arg;
    int dispatch_method;
    const char *name;
    bool skip_unhandled_events;
} esp_timer_create_args_t;

#ifdef __cplusplus
extern "C" {
#endif
int64_t esp_timer_get_time(void);
esp_err_t esp_timer_create(const esp_timer_create_args_t *create_args, esp_timer_handle_t *out_handle);
esp_err_t esp_timer_start_once(esp_timer_handle_t timer, uint64_t timeout_us);
esp_err_t esp_timer_stop(esp_timer_handle_t timer);
#ifdef __cplusplus
}
#endif

#endif
