/* Stand-in for freertos/FreeRTOS.h: what this library uses of it, and no more. Source: components/freertos/include/freertos/FreeRTOS.h */
#ifndef STAND_IN_FREERTOS
#define STAND_IN_FREERTOS

#include <stdint.h>

typedef uint32_t TickType_t;
typedef int BaseType_t;
typedef unsigned UBaseType_t;

#define pdPASS 1
#define portMAX_DELAY UINT32_MAX
#define tskIDLE_PRIORITY 0U
#define pdMS_TO_TICKS(milliseconds) ((TickType_t)(milliseconds))

#endif
