#include "sha256.h"

#include <string.h>

static const uint32_t ROUND[64] = {
    0x428a2f98U, 0x71374491U, 0xb5c0fbcfU, 0xe9b5dba5U, 0x3956c25bU, 0x59f111f1U, 0x923f82a4U, 0xab1c5ed5U,
    0xd807aa98U, 0x12835b01U, 0x243185beU, 0x550c7dc3U, 0x72be5d74U, 0x80deb1feU, 0x9bdc06a7U, 0xc19bf174U,
    0xe49b69c1U, 0xefbe4786U, 0x0fc19dc6U, 0x240ca1ccU, 0x2de92c6fU, 0x4a7484aaU, 0x5cb0a9dcU, 0x76f988daU,
    0x983e5152U, 0xa831c66dU, 0xb00327c8U, 0xbf597fc7U, 0xc6e00bf3U, 0xd5a79147U, 0x06ca6351U, 0x14292967U,
    0x27b70a85U, 0x2e1b2138U, 0x4d2c6dfcU, 0x53380d13U, 0x650a7354U, 0x766a0abbU, 0x81c2c92eU, 0x92722c85U,
    0xa2bfe8a1U, 0xa81a664bU, 0xc24b8b70U, 0xc76c51a3U, 0xd192e819U, 0xd6990624U, 0xf40e3585U, 0x106aa070U,
    0x19a4c116U, 0x1e376c08U, 0x2748774cU, 0x34b0bcb5U, 0x391c0cb3U, 0x4ed8aa4aU, 0x5b9cca4fU, 0x682e6ff3U,
    0x748f82eeU, 0x78a5636fU, 0x84c87814U, 0x8cc70208U, 0x90befffaU, 0xa4506cebU, 0xbef9a3f7U, 0xc67178f2U,
};

static uint32_t rotated(uint32_t word, unsigned bits) { return (word >> bits) | (word << (32U - bits)); }

static void compress(uint32_t state[8], const uint8_t block[64]) {
    uint32_t w[64];
    uint32_t s[8];
    for (size_t i = 0; i < 16; i++) {
        w[i] = ((uint32_t)block[4 * i] << 24) | ((uint32_t)block[4 * i + 1] << 16) | ((uint32_t)block[4 * i + 2] << 8) |
               (uint32_t)block[4 * i + 3];
    }
    for (size_t i = 16; i < 64; i++) {
        const uint32_t low = rotated(w[i - 15], 7) ^ rotated(w[i - 15], 18) ^ (w[i - 15] >> 3);
        const uint32_t high = rotated(w[i - 2], 17) ^ rotated(w[i - 2], 19) ^ (w[i - 2] >> 10);
        w[i] = w[i - 16] + low + w[i - 7] + high;
    }
    memcpy(s, state, sizeof s);
    for (size_t i = 0; i < 64; i++) {
        const uint32_t e = rotated(s[4], 6) ^ rotated(s[4], 11) ^ rotated(s[4], 25);
        const uint32_t first = s[7] + e + ((s[4] & s[5]) ^ (~s[4] & s[6])) + ROUND[i] + w[i];
        const uint32_t a = rotated(s[0], 2) ^ rotated(s[0], 13) ^ rotated(s[0], 22);
        const uint32_t second = a + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(&s[1], &s[0], 7 * sizeof s[0]);
        s[4] += first;
        s[0] = first + second;
    }
    for (size_t i = 0; i < 8; i++) {
        state[i] += s[i];
    }
}

void updraft_sha256_begin(struct updraft_sha256 *hash) {
    static const uint32_t START[8] = {0x6a09e667U, 0xbb67ae85U, 0x3c6ef372U, 0xa54ff53aU,
                                      0x510e527fU, 0x9b05688cU, 0x1f83d9abU, 0x5be0cd19U};
    memcpy(hash->state, START, sizeof START);
    hash->length_bytes = 0;
    memset(hash->block, 0, sizeof hash->block);
}

void updraft_sha256_add(struct updraft_sha256 *hash, const uint8_t *bytes, size_t count) {
    size_t filled = (size_t)(hash->length_bytes % sizeof hash->block);
    hash->length_bytes += count;
    while (count > 0) {
        const size_t room = sizeof hash->block - filled;
        const size_t taken = count < room ? count : room;
        memcpy(&hash->block[filled], bytes, taken);
        bytes += taken;
        count -= taken;
        filled += taken;
        if (filled == sizeof hash->block) {
            compress(hash->state, hash->block);
            filled = 0;
        }
    }
}

void updraft_sha256_so_far(const struct updraft_sha256 *hash, uint8_t digest[UPDRAFT_SHA256_BYTES]) {
    struct updraft_sha256 last = *hash;
    const uint64_t bits = hash->length_bytes * 8U;
    size_t filled = (size_t)(hash->length_bytes % sizeof last.block);
    last.block[filled] = 0x80;
    filled++;
    if (filled > 56) {
        memset(&last.block[filled], 0, sizeof last.block - filled);
        compress(last.state, last.block);
        filled = 0;
    }
    memset(&last.block[filled], 0, 56 - filled);
    for (size_t i = 0; i < 8; i++) {
        last.block[56 + i] = (uint8_t)(bits >> (56U - 8U * i));
    }
    compress(last.state, last.block);
    for (size_t i = 0; i < UPDRAFT_SHA256_BYTES; i++) {
        digest[i] = (uint8_t)(last.state[i / 4] >> (24U - 8U * (i % 4)));
    }
}

void updraft_sha256_of(const uint8_t *bytes, size_t count, uint8_t digest[UPDRAFT_SHA256_BYTES]) {
    struct updraft_sha256 hash;
    updraft_sha256_begin(&hash);
    updraft_sha256_add(&hash, bytes, count);
    updraft_sha256_so_far(&hash, digest);
}
