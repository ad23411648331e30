/* Stand-in for mbedtls/version.h: what this library uses of it, and no more. Source: mbedtls 3.x (ESP-IDF 5.1) */
#ifndef STAND_IN_MBEDTLS_VERSION
#define STAND_IN_MBEDTLS_VERSION

#define MBEDTLS_VERSION_NUMBER 0x03040000

#endif
