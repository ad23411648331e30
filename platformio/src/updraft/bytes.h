/* Numbers in bytes, little-endian. */
#ifndef UPDRAFT_BYTES_H
#define UPDRAFT_BYTES_H

#include <stdint.h>

static inline uint16_t updraft_u16(const uint8_t *bytes) { return (uint16_t)(bytes[0] | ((unsigned)bytes[1] << 8)); }

static inline uint32_t updraft_u32(const uint8_t *bytes) {
    return (uint32_t)bytes[0] | ((uint32_t)bytes[1] << 8) | ((uint32_t)bytes[2] << 16) | ((uint32_t)bytes[3] << 24);
}

static inline void updraft_put_u32(uint8_t *bytes, uint32_t number) {
    for (unsigned i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)(number >> (8U * i));
    }
}

#endif
