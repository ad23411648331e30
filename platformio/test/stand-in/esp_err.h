/* Stand-in for esp_err.h: what this library uses of it, and no more. Source: components/esp_common/include/esp_err.h */
#ifndef STAND_IN_ESP_ERR
#define STAND_IN_ESP_ERR

typedef int esp_err_t;

#define ESP_OK 0
#define ESP_FAIL (-1)
#define ESP_ERR_INVALID_ARG 0x102
#define ESP_ERR_NOT_FOUND 0x105

#endif
