#include <string.h>

#include "updraft/bytes.h"
#include "world.h"

struct image_options image_options(const char *version, uint32_t data_bytes) {
    const struct image_options options = {version, "lamp", 9, 2, 0, data_bytes, HEALTHY, false};
    return options;
}

static void put_text(uint8_t *out, const char *text) { memcpy(out, text, strlen(text)); }

size_t image_build(const struct image_options *options, uint8_t *out) {
    size_t at = 32;
    uint8_t checksum = 0xEF;
    const uint32_t length = 256U + options->data_bytes;
    uint32_t noise = (uint32_t)options->version[2];
    memset(out, 0, 32U + length + 64U);
    out[0] = 0xE9;
    out[1] = 1;
    out[2] = options->flash_mode;
    out[12] = (uint8_t)options->chip;
    out[13] = (uint8_t)(options->chip >> 8);
    out[17] = 0xC7; /* up to v1.99 */
    out[23] = options->has_no_digest ? 0 : 1;
    updraft_put_u32(&out[24], 0x3C000020U);
    updraft_put_u32(&out[28], length);
    updraft_put_u32(&out[32], 0xABCD5432U);
    updraft_put_u32(&out[36], options->secure_version);
    put_text(&out[48], options->version);
    put_text(&out[80], options->project);
    for (size_t i = 288; i < 32U + length; i++) {
        noise = noise * 1664525U + 1013904223U;
        out[i] = (uint8_t)(noise >> 24);
    }
    out[31U + length] = (uint8_t)options->behaviour;
    for (; at < 32U + length; at++) {
        checksum ^= out[at];
    }
    at = at / 16U * 16U + 16U;
    out[at - 1] = checksum;
    if (!options->has_no_digest) {
        updraft_sha256_of(out, at, &out[at]);
        at += UPDRAFT_SHA256_BYTES;
    }
    return at;
}

static uint32_t crc32(const uint8_t *bytes, size_t count) {
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (unsigned bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0xEDB88320U : 0U);
        }
    }
    return ~crc;
}

static void write_key(uint8_t *block, uint8_t key) {
    block[36] = 2; /* P-256 */
    memset(&block[37], key, 64);
}

void key_digest(uint8_t key, uint8_t digest[UPDRAFT_SHA256_BYTES]) {
    uint8_t block[128] = {0};
    write_key(block, key);
    updraft_sha256_of(&block[36], 65, digest);
}

size_t image_sign(uint8_t *image, size_t image_bytes, const uint8_t *keys, size_t key_count) {
    const size_t padded = (image_bytes + 4095U) / 4096U * 4096U;
    memset(&image[image_bytes], 0xFF, padded + 4096U - image_bytes);
    for (size_t i = 0; i < key_count; i++) {
        uint8_t *const block = &image[padded + i * 1216U];
        memset(block, 0, 1216);
        block[0] = 0xE7;
        block[1] = 3;
        updraft_sha256_of(image, padded, &block[4]);
        write_key(block, keys[i]);
        /* In these tests a signature holds if it is the digest behind the key. */
        memset(&block[101], keys[i], 32);
        memcpy(&block[133], &block[4], 32);
        updraft_put_u32(&block[1196], crc32(block, 1196));
    }
    return padded + 4096U;
}
