/* Stand-in for mbedtls/ecp.h: what this library uses of it, and no more. Source: mbedtls 3.x, include/mbedtls/ecp.h, bignum.h */
#ifndef STAND_IN_MBEDTLS_ECP
#define STAND_IN_MBEDTLS_ECP

#include <stddef.h>

typedef struct {
    int unused;
} mbedtls_mpi;
typedef struct {
    int unused;
} mbedtls_ecp_point;
typedef struct {
    int unused;
} mbedtls_ecp_group;
typedef enum { MBEDTLS_ECP_DP_SECP256R1 = 3 } mbedtls_ecp_group_id;

void mbedtls_mpi_init(mbedtls_mpi *X);
void mbedtls_mpi_free(mbedtls_mpi *X);
int mbedtls_mpi_read_binary(mbedtls_mpi *X, const unsigned char *buf, size_t buflen);
void mbedtls_ecp_group_init(mbedtls_ecp_group *grp);
void mbedtls_ecp_group_free(mbedtls_ecp_group *grp);
int mbedtls_ecp_group_load(mbedtls_ecp_group *grp, mbedtls_ecp_group_id id);
void mbedtls_ecp_point_init(mbedtls_ecp_point *pt);
void mbedtls_ecp_point_free(mbedtls_ecp_point *pt);
int mbedtls_ecp_point_read_binary(const mbedtls_ecp_group *grp, mbedtls_ecp_point *P, const unsigned char *buf, size_t ilen);
int mbedtls_ecp_check_pubkey(const mbedtls_ecp_group *grp, const mbedtls_ecp_point *pt);

#endif
