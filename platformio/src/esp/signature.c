/* The arithmetic of signatures, by mbedtls. */
#ifdef ESP_PLATFORM

#include <mbedtls/ecdsa.h>
#include <mbedtls/ecp.h>
#include <mbedtls/rsa.h>
#include <mbedtls/version.h>
#include <string.h>

#include "parts.h"

#define RSA_BYTES 384U
#define P256_BYTES 32U

/* Signature blocks are little-endian, mbedtls reads big-endian. */
static void reverse(uint8_t *to, const uint8_t *from, size_t count) {
    for (size_t i = 0; i < count; i++) {
        to[i] = from[count - 1 - i];
    }
}

static bool verify_rsa(const struct updraft_signature *signature) {
    /* One fetch at a time, and one signature at a time: too large for a task's stack. */
    static uint8_t modulus[RSA_BYTES];
    static uint8_t value[RSA_BYTES];
    const uint8_t exponent[4] = {(uint8_t)(signature->exponent >> 24), (uint8_t)(signature->exponent >> 16),
                                 (uint8_t)(signature->exponent >> 8), (uint8_t)signature->exponent};
    mbedtls_rsa_context rsa;
    bool is_good = false;
    reverse(modulus, signature->key, RSA_BYTES);
    reverse(value, signature->value, RSA_BYTES);
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    mbedtls_rsa_init(&rsa);
    mbedtls_rsa_set_padding(&rsa, MBEDTLS_RSA_PKCS_V21, MBEDTLS_MD_SHA256);
#else
    mbedtls_rsa_init(&rsa, MBEDTLS_RSA_PKCS_V21, MBEDTLS_MD_SHA256);
#endif
    if (mbedtls_rsa_import_raw(&rsa, modulus, RSA_BYTES, NULL, 0, NULL, 0, NULL, 0, exponent, sizeof exponent) == 0 &&
        mbedtls_rsa_complete(&rsa) == 0) {
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
        is_good = mbedtls_rsa_rsassa_pss_verify(&rsa, MBEDTLS_MD_SHA256, UPDRAFT_SHA256_BYTES, signature->digest, value) == 0;
#else
        is_good = mbedtls_rsa_rsassa_pss_verify(&rsa, NULL, NULL, MBEDTLS_RSA_PUBLIC, MBEDTLS_MD_SHA256, UPDRAFT_SHA256_BYTES,
                                                signature->digest, value) == 0;
#endif
    }
    mbedtls_rsa_free(&rsa);
    return is_good;
}

static bool read_number(mbedtls_mpi *number, const uint8_t *little_endian) {
    uint8_t bytes[P256_BYTES];
    reverse(bytes, little_endian, sizeof bytes);
    return mbedtls_mpi_read_binary(number, bytes, sizeof bytes) == 0;
}

static bool verify_p256(const struct updraft_signature *signature) {
    mbedtls_ecp_group group;
    mbedtls_ecp_point key;
    mbedtls_mpi r;
    mbedtls_mpi s;
    uint8_t point[1U + 2U * P256_BYTES] = {0x04};
    reverse(&point[1], signature->key, P256_BYTES);
    reverse(&point[1U + P256_BYTES], &signature->key[P256_BYTES], P256_BYTES);
    mbedtls_ecp_group_init(&group);
    mbedtls_ecp_point_init(&key);
    mbedtls_mpi_init(&r);
    mbedtls_mpi_init(&s);
    const bool is_good = mbedtls_ecp_group_load(&group, MBEDTLS_ECP_DP_SECP256R1) == 0 &&
                         mbedtls_ecp_point_read_binary(&group, &key, point, sizeof point) == 0 &&
                         mbedtls_ecp_check_pubkey(&group, &key) == 0 && read_number(&r, signature->value) &&
                         read_number(&s, &signature->value[P256_BYTES]) &&
                         mbedtls_ecdsa_verify(&group, signature->digest, UPDRAFT_SHA256_BYTES, &key, &r, &s) == 0;
    mbedtls_mpi_free(&s);
    mbedtls_mpi_free(&r);
    mbedtls_ecp_point_free(&key);
    mbedtls_ecp_group_free(&group);
    return is_good;
}

bool updraft_esp_verify(void *context, const struct updraft_signature *signature) {
    (void)context;
    return signature->scheme == UPDRAFT_RSA_3072_PSS ? verify_rsa(signature) : verify_p256(signature);
}

#endif
