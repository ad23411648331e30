/* An ESP image: what its first bytes tell, and whether all of it holds: structure, checksum, digest, what follows it.
 *
 * Sources: esp_app_format.h and esp_app_desc.h of ESP-IDF. An image goes in from its start in pieces of any size; the first
 * fault in the order of its bytes is the one that is said. */
#ifndef UPDRAFT_IMAGE_H
#define UPDRAFT_IMAGE_H

#include "refusal.h"
#include "sha256.h"

#define UPDRAFT_SECTOR_BYTES 4096U
/* Header, first segment's header, descriptor: what an image is judged by before anything is erased. */
#define UPDRAFT_PREFIX_BYTES 288U
#define UPDRAFT_IMAGE_MAX_BYTES (16U * 1024U * 1024U)

/* What an image says of itself. */
struct updraft_traits {
    uint16_t chip;
    uint16_t min_revision;
    uint16_t max_revision;
    uint8_t segments;
    uint8_t flash_mode;
    uint8_t mmu_page_log2;
    bool has_descriptor;
    bool has_digest;
    uint32_t secure_version;
    /* Whether `updraft image stamp` wrote project and version. */
    bool is_stamped;
    /* The project and its version, where the descriptor is the application's own and not that of the library it was linked
     * with; else empty. */
    char project[33];
    char version[33];
};

/* Reads the first UPDRAFT_PREFIX_BYTES of an image, or all of a shorter one. */
struct updraft_refusal updraft_prefix(const uint8_t *bytes, size_t count, struct updraft_traits *traits);

enum updraft_source {
    /* A file: nothing may follow the image but its signature. */
    UPDRAFT_FILE,
    /* A slot: anything may follow. */
    UPDRAFT_SLOT
};

enum updraft_stage {
    UPDRAFT_STAGE_HEADER,
    UPDRAFT_STAGE_SEGMENT,
    UPDRAFT_STAGE_DATA,
    UPDRAFT_STAGE_CHECKSUM,
    UPDRAFT_STAGE_DIGEST,
    UPDRAFT_STAGE_PADDING,
    UPDRAFT_STAGE_SIGNATURE,
    UPDRAFT_STAGE_END,
    UPDRAFT_STAGE_REFUSED
};

/* An image on its way through. */
struct updraft_verifier {
    enum updraft_source source;
    enum updraft_stage stage;
    struct updraft_refusal refusal;
    struct updraft_traits traits;
    uint32_t offset;
    /* Of the stage under way. */
    uint32_t left;
    uint32_t segments_seen;
    /* What the image comes to without padding and signature. */
    uint32_t structural_bytes;
    uint8_t checksum;
    uint8_t head[UPDRAFT_PREFIX_BYTES];
    uint32_t head_bytes;
    /* Where in a stage that gathers bytes its next one goes. */
    uint8_t gathered[36];
    uint32_t gathered_bytes;
    struct updraft_sha256 hash;
    uint8_t computed[UPDRAFT_SHA256_BYTES];
    /* Of the whole file, as far as it is one. */
    bool is_signed;
    uint32_t total_bytes;
    uint8_t sha256[UPDRAFT_SHA256_BYTES];
};

void updraft_verifier_begin(struct updraft_verifier *verifier, enum updraft_source source);
void updraft_verifier_add(struct updraft_verifier *verifier, const uint8_t *bytes, size_t count);
/* Whether more bytes can change anything. */
bool updraft_verifier_wants_more(const struct updraft_verifier *verifier);
/* What is wrong with what was added, as if it were all there is. */
struct updraft_refusal updraft_verifier_verdict(const struct updraft_verifier *verifier);
/* Whether damage to it would be seen. */
bool updraft_verifier_is_protected(const struct updraft_verifier *verifier);

#endif
