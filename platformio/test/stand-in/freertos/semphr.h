/* Stand-in for freertos/semphr.h: what this library uses of it, and no more. Source: components/freertos/include/freertos/semphr.h */
#ifndef STAND_IN_FREERTOS_SEMPHR
#define STAND_IN_FREERTOS_SEMPHR

#include "FreeRTOS.h"

typedef struct semaphore *SemaphoreHandle_t;
typedef struct {
    int unused;
} StaticSemaphore_t;

#ifdef __cplusplus
extern "C" {
#endif
SemaphoreHandle_t xSemaphoreCreateMutexStatic(StaticSemaphore_t *memory);
BaseType_t xSemaphoreTake(SemaphoreHandle_t semaphore, TickType_t wait);
BaseType_t xSemaphoreGive(SemaphoreHandle_t semaphore);
#ifdef __cplusplus
}
#endif

#endif
