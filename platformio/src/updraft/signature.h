/* Secure Boot v2 signature blocks: who signed an image, and whether those are enough of the ones that this firmware trusts.
 *
 * What is known here is where things lie; the arithmetic is the port's (mbedtls has it). */
#ifndef UPDRAFT_SIGNATURE_H
#define UPDRAFT_SIGNATURE_H

#include "refusal.h"
#include "sha256.h"

#define UPDRAFT_SIGNATURE_BLOCK_BYTES 1216U
/* An image has at most so many signatures. */
#define UPDRAFT_SIGNATURE_BLOCKS 3U

enum updraft_scheme { UPDRAFT_RSA_3072_PSS, UPDRAFT_ECDSA_P256 };

/* One signature of an image. Numbers are little-endian, as espsecure writes them. */
struct updraft_signature {
    enum updraft_scheme scheme;
    /* SHA-256 of all that is signed. */
    const uint8_t *digest;
    /* RSA: the modulus, 384 bytes; P-256: X and Y of the public key, 32 bytes each. */
    const uint8_t *key;
    /* RSA only. */
    uint32_t exponent;
    /* RSA: 384 bytes; P-256: r and s, 32 bytes each. */
    const uint8_t *value;
};

/* Whether the signature is one of the digest by the key; asked of trusted keys alone. */
typedef bool (*updraft_verify)(void *context, const struct updraft_signature *signature);

struct updraft_trust {
    /* SHA-256 digests of the public keys that count; with none of them unsigned images are taken. */
    const uint8_t (*keys)[UPDRAFT_SHA256_BYTES];
    uint32_t count;
    /* How many of them must have signed; 0 is 1. */
    uint32_t required;
    updraft_verify verify;
    void *context;
};

/* Judges a file's last sector, which a signature may lie in. That what is signed is this image is the verifier's to see. */
struct updraft_refusal updraft_signed(const uint8_t *sector, const struct updraft_trust *trust);

#endif
