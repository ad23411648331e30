/* Stand-in for mbedtls/rsa.h: what this library uses of it, and no more. Source: mbedtls 3.x, include/mbedtls/rsa.h, md.h */
#ifndef STAND_IN_MBEDTLS_RSA
#define STAND_IN_MBEDTLS_RSA

#include <stddef.h>

#define MBEDTLS_RSA_PKCS_V21 1

typedef enum { MBEDTLS_MD_SHA256 = 6 } mbedtls_md_type_t;
typedef struct {
    int unused;
} mbedtls_rsa_context;

void mbedtls_rsa_init(mbedtls_rsa_context *ctx);
int mbedtls_rsa_set_padding(mbedtls_rsa_context *ctx, int padding, mbedtls_md_type_t hash_id);
int mbedtls_rsa_import_raw(mbedtls_rsa_context *ctx, unsigned char const *N, size_t N_len, unsigned char const *P, size_t P_len,
                           unsigned char const *Q, size_t Q_len, unsigned char const *D, size_t D_len, unsigned char const *E,
                           size_t E_len);
int mbedtls_rsa_complete(mbedtls_rsa_context *ctx);
int mbedtls_rsa_rsassa_pss_verify(mbedtls_rsa_context *ctx, mbedtls_md_type_t md_alg, unsigned int hashlen,
                                  const unsigned char *hash, const unsigned char *sig);
void mbedtls_rsa_free(mbedtls_rsa_context *ctx);

#endif
