/* Stand-in for sdkconfig.h: what this library uses of it, and no more. Source: ESP-IDF v4.4 and v5.1, Kconfig's output for the ESP32-S3 */
#ifndef STAND_IN_SDKCONFIG
#define STAND_IN_SDKCONFIG

#define CONFIG_IDF_TARGET "esp32s3"
#define CONFIG_IDF_FIRMWARE_CHIP_ID 0x0009
#define CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE 1

#endif
