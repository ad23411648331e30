#include "signature.h"

#include <string.h>

#include "bytes.h"

#define BLOCK_MAGIC 0xE7U
#define VERSION_RSA 2U
#define VERSION_ECDSA 3U
#define CURVE_P192 1U
#define CURVE_P256 2U
#define HASH_SHA384 1U
#define KEY_AT 36U
#define RSA_KEY_END 812U
#define P256_KEY_END 101U
#define CRC_AT 1196U

static uint32_t crc32(const uint8_t *bytes, size_t count) {
    uint32_t crc = 0xFFFFFFFFU;
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (unsigned bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0xEDB88320U : 0U);
        }
    }
    return ~crc;
}

/* Reads a block; what is wrong with one that cannot count. */
static enum updraft_says parse(const uint8_t *block, struct updraft_signature *signature, uint32_t *key_end) {
    if (crc32(block, CRC_AT) != updraft_u32(&block[CRC_AT])) {
        return UPDRAFT_SAYS_DAMAGED_BLOCK;
    }
    signature->digest = &block[4];
    if (block[1] == VERSION_RSA) {
        signature->scheme = UPDRAFT_RSA_3072_PSS;
        signature->key = &block[KEY_AT];
        signature->exponent = updraft_u32(&block[420]);
        signature->value = &block[RSA_KEY_END];
        *key_end = RSA_KEY_END;
        return UPDRAFT_SAYS_NOTHING;
    }
    if (block[1] != VERSION_ECDSA) {
        return UPDRAFT_SAYS_UNKNOWN_VERSION;
    }
    if (block[2] == HASH_SHA384) {
        return UPDRAFT_SAYS_P384;
    }
    if (block[KEY_AT] != CURVE_P256) {
        return block[KEY_AT] == CURVE_P192 ? UPDRAFT_SAYS_P192 : UPDRAFT_SAYS_UNKNOWN_CURVE;
    }
    signature->scheme = UPDRAFT_ECDSA_P256;
    signature->key = &block[KEY_AT + 1];
    signature->exponent = 0;
    signature->value = &block[P256_KEY_END];
    *key_end = P256_KEY_END;
    return UPDRAFT_SAYS_NOTHING;
}

/* Which of the trusted keys this is; `count` if it is none. */
static uint32_t place_of(const uint8_t digest[UPDRAFT_SHA256_BYTES], const struct updraft_trust *trust) {
    uint32_t place = 0;
    while (place < trust->count && memcmp(trust->keys[place], digest, UPDRAFT_SHA256_BYTES) != 0) {
        place++;
    }
    return place;
}

struct updraft_refusal updraft_signed(const uint8_t *sector, const struct updraft_trust *trust) {
    const uint32_t required = trust->required > 0 ? trust->required : 1;
    uint8_t found[UPDRAFT_SIGNATURE_BLOCKS][UPDRAFT_SHA256_BYTES];
    uint32_t good = 0;
    enum updraft_says bad = UPDRAFT_SAYS_NOTHING;
    if (trust->count == 0) {
        return updraft_fine();
    }
    if (sector[0] != BLOCK_MAGIC) {
        return updraft_refuse(UPDRAFT_SAYS_UNSIGNED);
    }
    for (uint32_t i = 0; i < UPDRAFT_SIGNATURE_BLOCKS; i++) {
        const uint8_t *const block = &sector[i * UPDRAFT_SIGNATURE_BLOCK_BYTES];
        struct updraft_signature signature;
        uint32_t key_end = 0;
        if (block[0] != BLOCK_MAGIC) {
            break;
        }
        const enum updraft_says wrong = parse(block, &signature, &key_end);
        if (wrong != UPDRAFT_SAYS_NOTHING) {
            bad = wrong;
            continue;
        }
        updraft_sha256_of(&block[KEY_AT], key_end - KEY_AT, found[good]);
        bool is_new = place_of(found[good], trust) < trust->count;
        for (uint32_t before = 0; before < good; before++) {
            is_new = is_new && memcmp(found[before], found[good], UPDRAFT_SHA256_BYTES) != 0;
        }
        if (!is_new) {
            continue;
        }
        if (memcmp(signature.digest, &sector[4], UPDRAFT_SHA256_BYTES) != 0) {
            bad = UPDRAFT_SAYS_OTHER_IMAGE;
        } else if (trust->verify == NULL) {
            return updraft_refuse(UPDRAFT_SAYS_CANNOT_VERIFY);
        } else if (trust->verify(trust->context, &signature)) {
            good++;
        } else {
            bad = UPDRAFT_SAYS_OTHER_KEY;
        }
    }
    if (good >= required) {
        return updraft_fine();
    }
    if (good > 0) {
        return updraft_refuse2(UPDRAFT_SAYS_TOO_FEW, good, required);
    }
    if (bad != UPDRAFT_SAYS_NOTHING) {
        return updraft_refuse1(UPDRAFT_SAYS_BAD_SIGNATURE, (uint32_t)bad);
    }
    return updraft_refuse(UPDRAFT_SAYS_UNTRUSTED);
}
