/* Stand-in for esp_idf_version.h: what this library uses of it, and no more. Source: components/esp_common/include/esp_idf_version.h */
#ifndef STAND_IN_ESP_IDF_VERSION
#define STAND_IN_ESP_IDF_VERSION

#define ESP_IDF_VERSION_VAL(major, minor, patch) (((major) << 16) | ((minor) << 8) | (patch))
/* 4.4 unless the tests say otherwise. */
#ifndef ESP_IDF_VERSION
#define ESP_IDF_VERSION ESP_IDF_VERSION_VAL(4, 4, 7)
#endif

#endif
