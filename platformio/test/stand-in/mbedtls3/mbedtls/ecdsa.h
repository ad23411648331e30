/* Stand-in for mbedtls/ecdsa.h: what this library uses of it, and no more. Source: mbedtls 3.x, include/mbedtls/ecdsa.h */
#ifndef STAND_IN_MBEDTLS_ECDSA
#define STAND_IN_MBEDTLS_ECDSA

#include "ecp.h"

int mbedtls_ecdsa_verify(mbedtls_ecp_group *grp, const unsigned char *buf, size_t blen, const mbedtls_ecp_point *Q,
                         const mbedtls_mpi *r, const mbedtls_mpi *s);

#endif
