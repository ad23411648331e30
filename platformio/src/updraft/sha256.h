/* SHA-256 (FIPS 180-4) in portable C: what names an image, and shows that flash holds what was sent. */
#ifndef UPDRAFT_SHA256_H
#define UPDRAFT_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define UPDRAFT_SHA256_BYTES 32U

/* A hash under way; copying it forks it. */
struct updraft_sha256 {
    uint32_t state[8];
    uint64_t length_bytes;
    uint8_t block[64];
};

void updraft_sha256_begin(struct updraft_sha256 *hash);
void updraft_sha256_add(struct updraft_sha256 *hash, const uint8_t *bytes, size_t count);
/* The digest of what was added so far; more may be added afterwards. */
void updraft_sha256_so_far(const struct updraft_sha256 *hash, uint8_t digest[UPDRAFT_SHA256_BYTES]);
/* The digest of bytes in one piece. */
void updraft_sha256_of(const uint8_t *bytes, size_t count, uint8_t digest[UPDRAFT_SHA256_BYTES]);

#endif
