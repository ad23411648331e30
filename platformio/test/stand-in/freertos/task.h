/* Stand-in for freertos/task.h: what this library uses of it, and no more. Source: components/freertos/include/freertos/task.h */
#ifndef STAND_IN_FREERTOS_TASK
#define STAND_IN_FREERTOS_TASK

#include "FreeRTOS.h"

typedef void *TaskHandle_t;

#ifdef __cplusplus
extern "C" {
#endif
BaseType_t xTaskCreate(void (*task)(void *), const char *name, uint32_t stack_bytes, void *parameters, UBaseType_t priority,
                       TaskHandle_t *created);
void vTaskDelay(TickType_t ticks);
#ifdef __cplusplus
}
#endif

#endif
