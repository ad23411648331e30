#include "image.h"

#include <string.h>

#include "bytes.h"

#define HEADER_BYTES 24U
#define SEGMENT_HEADER_BYTES 8U
#define SEGMENTS_MAX 16U
#define DESCRIPTOR_AT (HEADER_BYTES + SEGMENT_HEADER_BYTES)
#define DESCRIPTOR_BYTES 256U
#define STAMP_AT 240U
/* A version that fills its field may have been cut to fit. */
#define CUT_FROM_BYTES 31U
#define DESCRIPTOR_MAGIC 0xABCD5432U
#define IMAGE_MAGIC 0xE9U
#define SIGNATURE_MAGIC 0xE7U
#define SIGNATURE_HEAD_BYTES 36U
#define CHECKSUM_SEED 0xEFU

static void text_of(char out[33], const uint8_t *field) {
    memcpy(out, field, 32);
    out[32] = '\0';
}

/* Arduino's and PlatformIO's images carry the descriptor of the core's library build. */
static bool is_apps_own(const struct updraft_traits *traits) {
    static const char *const LIBRARIES[] = {"arduino-lib-builder", "esp32-arduino-lib-builder", "libespidf"};
    if (traits->is_stamped) {
        return true;
    }
    for (size_t i = 0; i < sizeof LIBRARIES / sizeof LIBRARIES[0]; i++) {
        if (strcmp(traits->project, LIBRARIES[i]) == 0) {
            return false;
        }
    }
    return traits->project[0] != '\0' && traits->version[0] != '\0' && strncmp(traits->version, "esp-idf:", 8) != 0;
}

/* Without a stamp a name says nothing, such as a commit's: `b1c75d1-dirty`, `1c75d1a`. */
static bool is_version(const struct updraft_traits *traits) {
    const char *const text = &traits->version[traits->version[0] == 'v' ? 1 : 0];
    const size_t triple = strspn(text, "0123456789.");
    const bool is_one = triple > 0 && strchr("-+ (", text[triple]) != NULL; /* Or its end, which strchr finds too. */
    return traits->is_stamped || (is_one && strlen(traits->version) < CUT_FROM_BYTES);
}

static void read_descriptor(const uint8_t *bytes, struct updraft_traits *traits) {
    traits->has_descriptor = updraft_u32(bytes) == DESCRIPTOR_MAGIC;
    if (!traits->has_descriptor) {
        return;
    }
    static const char STAMP[16] = "updraft stamp\0\0\1";
    traits->is_stamped = memcmp(&bytes[STAMP_AT], STAMP, sizeof STAMP) == 0;
    traits->secure_version = updraft_u32(&bytes[4]);
    traits->mmu_page_log2 = bytes[180];
    text_of(traits->version, &bytes[16]);
    text_of(traits->project, &bytes[48]);
    if (!is_apps_own(traits)) {
        traits->version[0] = '\0';
        traits->project[0] = '\0';
    } else if (!is_version(traits)) {
        traits->version[0] = '\0';
    }
}

static struct updraft_refusal read_header(const uint8_t *bytes, struct updraft_traits *traits) {
    if (bytes[0] != IMAGE_MAGIC) {
        return updraft_refuse1(UPDRAFT_SAYS_NOT_ESP32, bytes[0]);
    }
    /* An ESP8266's image has the same magic and its first segment's data here. */
    if (bytes[23] > 1) {
        return updraft_refuse(UPDRAFT_SAYS_ESP8266);
    }
    if (bytes[1] == 0 || bytes[1] > SEGMENTS_MAX) {
        return updraft_refuse1(UPDRAFT_SAYS_SEGMENT_COUNT, bytes[1]);
    }
    memset(traits, 0, sizeof *traits);
    traits->segments = bytes[1];
    traits->flash_mode = bytes[2];
    traits->chip = updraft_u16(&bytes[12]);
    traits->min_revision = updraft_u16(&bytes[15]);
    traits->max_revision = updraft_u16(&bytes[17]);
    traits->has_digest = bytes[23] == 1;
    return updraft_fine();
}

static struct updraft_refusal check_segment(const uint8_t *bytes, uint32_t index) {
    const uint32_t length = updraft_u32(&bytes[4]);
    if (length % 4U != 0 || length >= UPDRAFT_IMAGE_MAX_BYTES) {
        return updraft_refuse2(UPDRAFT_SAYS_SEGMENT_LENGTH, index, length);
    }
    return updraft_fine();
}

struct updraft_refusal updraft_prefix(const uint8_t *bytes, size_t count, struct updraft_traits *traits) {
    if (count > 0 && bytes[0] != IMAGE_MAGIC) {
        return updraft_refuse1(UPDRAFT_SAYS_NOT_ESP32, bytes[0]);
    }
    if (count < DESCRIPTOR_AT) {
        return updraft_refuse2(UPDRAFT_SAYS_SHORT, (uint32_t)count, DESCRIPTOR_AT);
    }
    struct updraft_refusal refusal = read_header(bytes, traits);
    if (!updraft_is_refused(&refusal)) {
        refusal = check_segment(&bytes[HEADER_BYTES], 0);
    }
    if (!updraft_is_refused(&refusal) && count >= UPDRAFT_PREFIX_BYTES &&
        updraft_u32(&bytes[HEADER_BYTES + 4]) >= DESCRIPTOR_BYTES) {
        read_descriptor(&bytes[DESCRIPTOR_AT], traits);
    }
    return refusal;
}

void updraft_verifier_begin(struct updraft_verifier *verifier, enum updraft_source source) {
    memset(verifier, 0, sizeof *verifier);
    verifier->source = source;
    verifier->stage = UPDRAFT_STAGE_HEADER;
    verifier->left = HEADER_BYTES;
    verifier->checksum = CHECKSUM_SEED;
    updraft_sha256_begin(&verifier->hash);
}

static void refuse(struct updraft_verifier *verifier, struct updraft_refusal refusal) {
    verifier->stage = UPDRAFT_STAGE_REFUSED;
    verifier->refusal = refusal;
}

static void enter(struct updraft_verifier *verifier, enum updraft_stage stage, uint32_t left) {
    verifier->stage = stage;
    verifier->left = left;
    verifier->gathered_bytes = 0;
}

static void mark_total(struct updraft_verifier *verifier) {
    verifier->total_bytes = verifier->offset;
    updraft_sha256_so_far(&verifier->hash, verifier->sha256);
}

/* The image itself is whole; what may follow is 0xFF up to a sector's end, and a signature sector. */
static void close_image(struct updraft_verifier *verifier) {
    const uint32_t beyond = verifier->offset % UPDRAFT_SECTOR_BYTES;
    verifier->structural_bytes = verifier->offset;
    mark_total(verifier);
    if (!verifier->traits.has_descriptor) {
        refuse(verifier, updraft_refuse(UPDRAFT_SAYS_NO_APPLICATION));
    } else if (beyond == 0) {
        enter(verifier, UPDRAFT_STAGE_SIGNATURE, UPDRAFT_SECTOR_BYTES);
    } else {
        enter(verifier, UPDRAFT_STAGE_PADDING, UPDRAFT_SECTOR_BYTES - beyond);
    }
}

static void close_segment(struct updraft_verifier *verifier) {
    if (verifier->segments_seen == 1 && verifier->head_bytes == UPDRAFT_PREFIX_BYTES) {
        read_descriptor(&verifier->head[DESCRIPTOR_AT], &verifier->traits);
    }
    if (verifier->segments_seen < verifier->traits.segments) {
        enter(verifier, UPDRAFT_STAGE_SEGMENT, SEGMENT_HEADER_BYTES);
    } else {
        /* The checksum is the last byte of a block of 16, and never in a block that data fills. */
        enter(verifier, UPDRAFT_STAGE_CHECKSUM, 16U - verifier->offset % 16U);
    }
}

static void close_segment_header(struct updraft_verifier *verifier) {
    const uint32_t length = updraft_u32(&verifier->gathered[4]);
    const struct updraft_refusal refusal = check_segment(verifier->gathered, verifier->segments_seen);
    if (updraft_is_refused(&refusal)) {
        refuse(verifier, refusal);
    } else if (length > UPDRAFT_IMAGE_MAX_BYTES - verifier->offset) {
        refuse(verifier, updraft_refuse(UPDRAFT_SAYS_OVER_16_MIB));
    } else {
        /* Only a descriptor that lies in the first segment is one. */
        if (verifier->segments_seen == 0 && length < DESCRIPTOR_BYTES) {
            verifier->head_bytes = 0;
        }
        verifier->segments_seen++;
        enter(verifier, UPDRAFT_STAGE_DATA, length);
        if (length == 0) {
            close_segment(verifier);
        }
    }
}

static void close_checksum(struct updraft_verifier *verifier, uint8_t stored) {
    if (stored != verifier->checksum) {
        refuse(verifier, updraft_refuse2(UPDRAFT_SAYS_CHECKSUM, stored, verifier->checksum));
    } else if (verifier->traits.has_digest) {
        updraft_sha256_so_far(&verifier->hash, verifier->computed);
        enter(verifier, UPDRAFT_STAGE_DIGEST, UPDRAFT_SHA256_BYTES);
    } else {
        close_image(verifier);
    }
}

/* Bytes that belong to nothing. */
static void go_beyond(struct updraft_verifier *verifier) {
    if (verifier->source == UPDRAFT_SLOT) {
        verifier->stage = UPDRAFT_STAGE_END;
    } else {
        refuse(verifier, updraft_refuse1(UPDRAFT_SAYS_TRAILING, verifier->structural_bytes));
    }
}

/* The head of the first signature block: of this image, or left behind by an older one that lay in the slot. The other
 * blocks' digests are the signature's to look at. */
static void close_signature_head(struct updraft_verifier *verifier) {
    if (memcmp(&verifier->gathered[4], verifier->computed, sizeof verifier->computed) == 0) {
        return;
    }
    if (verifier->source == UPDRAFT_SLOT) {
        verifier->stage = UPDRAFT_STAGE_END;
    } else {
        refuse(verifier, updraft_refuse2(UPDRAFT_SAYS_BLOCK_DAMAGED, 1, (uint32_t)UPDRAFT_SAYS_OTHER_IMAGE));
    }
}

/* Takes bytes of one stage, at most `left`, into the hash. */
static void take(struct updraft_verifier *verifier, const uint8_t *bytes, uint32_t count) {
    if (verifier->head_bytes < UPDRAFT_PREFIX_BYTES && verifier->head_bytes == verifier->offset) {
        const uint32_t room = UPDRAFT_PREFIX_BYTES - verifier->head_bytes;
        const uint32_t kept = count < room ? count : room;
        memcpy(&verifier->head[verifier->head_bytes], bytes, kept);
        verifier->head_bytes += kept;
    }
    if (verifier->gathered_bytes < sizeof verifier->gathered) {
        const uint32_t room = (uint32_t)sizeof verifier->gathered - verifier->gathered_bytes;
        const uint32_t kept = count < room ? count : room;
        memcpy(&verifier->gathered[verifier->gathered_bytes], bytes, kept);
        verifier->gathered_bytes += kept;
    }
    updraft_sha256_add(&verifier->hash, bytes, count);
    verifier->offset += count;
    verifier->left -= count;
}

static void close_stage(struct updraft_verifier *verifier, uint8_t last) {
    switch (verifier->stage) {
    case UPDRAFT_STAGE_HEADER: {
        const struct updraft_refusal refusal = read_header(verifier->gathered, &verifier->traits);
        if (updraft_is_refused(&refusal)) {
            refuse(verifier, refusal);
        } else {
            enter(verifier, UPDRAFT_STAGE_SEGMENT, SEGMENT_HEADER_BYTES);
        }
        break;
    }
    case UPDRAFT_STAGE_SEGMENT:
        close_segment_header(verifier);
        break;
    case UPDRAFT_STAGE_DATA:
        close_segment(verifier);
        break;
    case UPDRAFT_STAGE_CHECKSUM:
        close_checksum(verifier, last);
        break;
    case UPDRAFT_STAGE_DIGEST:
        if (memcmp(verifier->gathered, verifier->computed, sizeof verifier->computed) == 0) {
            close_image(verifier);
        } else {
            refuse(verifier, updraft_refuse(UPDRAFT_SAYS_DIGEST));
        }
        break;
    case UPDRAFT_STAGE_PADDING:
        enter(verifier, UPDRAFT_STAGE_SIGNATURE, UPDRAFT_SECTOR_BYTES);
        break;
    case UPDRAFT_STAGE_SIGNATURE:
        mark_total(verifier);
        verifier->is_signed = true;
        verifier->stage = UPDRAFT_STAGE_END;
        break;
    default:
        break;
    }
}

/* How many of the bytes are the stage's own, up to the next place where something is decided. */
static uint32_t window(struct updraft_verifier *verifier, const uint8_t *bytes, uint32_t count) {
    uint32_t taken = count < verifier->left ? count : verifier->left;
    const uint32_t within = UPDRAFT_SECTOR_BYTES - verifier->left;
    if (verifier->stage == UPDRAFT_STAGE_PADDING) {
        for (uint32_t i = 0; i < taken; i++) {
            if (bytes[i] != 0xFF) {
                taken = i;
                go_beyond(verifier);
            }
        }
    } else if (verifier->stage == UPDRAFT_STAGE_SIGNATURE && within < SIGNATURE_HEAD_BYTES) {
        if (within == 0 && bytes[0] != SIGNATURE_MAGIC) {
            go_beyond(verifier);
            return 0;
        }
        if (within == 0) {
            updraft_sha256_so_far(&verifier->hash, verifier->computed);
        }
        if (taken > SIGNATURE_HEAD_BYTES - within) {
            taken = SIGNATURE_HEAD_BYTES - within;
        }
    }
    return taken;
}

void updraft_verifier_add(struct updraft_verifier *verifier, const uint8_t *bytes, size_t count) {
    while (count > 0 && updraft_verifier_wants_more(verifier)) {
        if (verifier->stage == UPDRAFT_STAGE_END) {
            go_beyond(verifier);
            return;
        }
        const uint32_t piece = count < UPDRAFT_SECTOR_BYTES ? (uint32_t)count : UPDRAFT_SECTOR_BYTES;
        if (verifier->stage == UPDRAFT_STAGE_HEADER && verifier->offset == 0 && bytes[0] != IMAGE_MAGIC) {
            refuse(verifier, updraft_refuse1(UPDRAFT_SAYS_NOT_ESP32, bytes[0]));
            return;
        }
        const enum updraft_stage before = verifier->stage;
        const uint32_t taken = window(verifier, bytes, piece);
        const uint8_t last = taken > 0 ? bytes[taken - 1] : 0;
        if (before == UPDRAFT_STAGE_DATA) {
            for (uint32_t i = 0; i < taken; i++) {
                verifier->checksum ^= bytes[i];
            }
        }
        take(verifier, bytes, taken);
        bytes += taken;
        count -= taken;
        if (verifier->stage == UPDRAFT_STAGE_SIGNATURE && verifier->gathered_bytes == SIGNATURE_HEAD_BYTES &&
            verifier->left == UPDRAFT_SECTOR_BYTES - SIGNATURE_HEAD_BYTES) {
            close_signature_head(verifier);
        }
        if (verifier->stage == before && verifier->left == 0) {
            close_stage(verifier, last);
        }
    }
}

bool updraft_verifier_wants_more(const struct updraft_verifier *verifier) {
    return verifier->stage != UPDRAFT_STAGE_REFUSED &&
           !(verifier->stage == UPDRAFT_STAGE_END && verifier->source == UPDRAFT_SLOT);
}

struct updraft_refusal updraft_verifier_verdict(const struct updraft_verifier *verifier) {
    switch (verifier->stage) {
    case UPDRAFT_STAGE_REFUSED:
        return verifier->refusal;
    case UPDRAFT_STAGE_END:
        return updraft_fine();
    case UPDRAFT_STAGE_PADDING:
    case UPDRAFT_STAGE_SIGNATURE:
        if (verifier->source == UPDRAFT_SLOT || verifier->offset == verifier->structural_bytes) {
            return updraft_fine();
        }
        if (verifier->stage == UPDRAFT_STAGE_PADDING || verifier->left == UPDRAFT_SECTOR_BYTES) {
            return updraft_refuse1(UPDRAFT_SAYS_TRAILING, verifier->structural_bytes);
        }
        return updraft_refuse2(UPDRAFT_SAYS_SHORT, verifier->offset, verifier->offset + verifier->left);
    default:
        return updraft_refuse2(UPDRAFT_SAYS_SHORT, verifier->offset, verifier->offset + verifier->left);
    }
}

bool updraft_verifier_is_protected(const struct updraft_verifier *verifier) {
    return verifier->is_signed || verifier->traits.has_digest;
}
