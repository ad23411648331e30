/* Whether mbedtls, as the ESP face asks it, accepts the signatures in the last sector of a file: prints the digests of the keys whose signatures hold. Another
 * program's signatures, so that a mistake here is not made twice. */
#include <stdio.h>
#include <string.h>

#include "esp/parts.h"
#include "updraft/bytes.h"

static void print(const uint8_t digest[UPDRAFT_SHA256_BYTES]) {
    char text[2U * UPDRAFT_SHA256_BYTES + 1U];
    struct updraft_text out = updraft_text_in(text, sizeof text);
    updraft_text_add_bytes(&out, digest, UPDRAFT_SHA256_BYTES);
    puts(text);
}

/* Whether the signature holds, and for another digest does not. */
static bool holds(void *context, const struct updraft_signature *signature) {
    uint8_t other[UPDRAFT_SHA256_BYTES];
    struct updraft_signature forged = *signature;
    memcpy(other, signature->digest, sizeof other);
    other[0] ^= 1;
    forged.digest = other;
    return updraft_esp_verify(context, signature) && !updraft_esp_verify(context, &forged);
}

int main(int argument_count, char **arguments) {
    static uint8_t sector[UPDRAFT_SECTOR_BYTES];
    uint8_t key[1][UPDRAFT_SHA256_BYTES];
    FILE *const file = argument_count == 2 ? fopen(arguments[1], "rb") : NULL;
    if (file == NULL || fseek(file, -(long)sizeof sector, SEEK_END) != 0 || fread(sector, 1, sizeof sector, file) != sizeof sector) {
        return 2;
    }
    (void)fclose(file);
    /* Trusted is whoever signed, one after another. */
    for (uint32_t i = 0; i < UPDRAFT_SIGNATURE_BLOCKS; i++) {
        const uint8_t *const block = &sector[i * UPDRAFT_SIGNATURE_BLOCK_BYTES];
        const struct updraft_trust trust = {(const uint8_t(*)[UPDRAFT_SHA256_BYTES])key, 1, 1, holds, NULL};
        updraft_sha256_of(&block[36], block[1] == 2 ? 776U : 65U, key[0]);
        const struct updraft_refusal refusal = updraft_signed(sector, &trust);
        if (!updraft_is_refused(&refusal)) {
            print(key[0]);
        }
    }
    return 0;
}
