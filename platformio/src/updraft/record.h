/* What a device remembers across restarts: the attempt under way, how far its download came, how the last one ended, which
 * bytes are which version, and which images failed here.
 *
 * Written as bytes with a tag: whatever does not check out counts as never written. That loosens nothing but the quarantine. */
#ifndef UPDRAFT_RECORD_H
#define UPDRAFT_RECORD_H

#include "sha256.h"
#include "url.h"

/* At most so many images of each kind are remembered; the oldest makes room. */
#define UPDRAFT_KEPT 4U
/* An image that failed so often, after boot or in verification, is refused. */
#define UPDRAFT_QUARANTINE_AT 2U
/* A longer ETag counts as none. */
#define UPDRAFT_ETAG_BYTES 128U
/* A record, as it is kept. */
#define UPDRAFT_RECORD_BYTES 1280U

enum updraft_attempt_stage {
    UPDRAFT_NO_ATTEMPT,
    /* The slot is being written. */
    UPDRAFT_DOWNLOADING,
    /* Verified; otadata is about to select it. */
    UPDRAFT_SELECTING,
    /* otadata selects it. */
    UPDRAFT_SELECTED,
    /* It ran and was not confirmed yet. */
    UPDRAFT_BOOTED,
    /* Its self-test failed; the reason is in `reason`. */
    UPDRAFT_REJECTED,
    UPDRAFT_ATTEMPT_STAGES
};

enum updraft_outcome { UPDRAFT_NO_OUTCOME, UPDRAFT_SUCCESS, UPDRAFT_FAILED, UPDRAFT_OUTCOMES };
enum updraft_known { UPDRAFT_UNKNOWN, UPDRAFT_NO, UPDRAFT_YES, UPDRAFT_KNOWNS };

struct updraft_attempt {
    enum updraft_attempt_stage stage;
    /* How often the image, whole in its slot, was selected again after a cut had undone that. */
    uint8_t rearms;
    /* Zero until it was received. */
    uint8_t sha256[UPDRAFT_SHA256_BYTES];
    char to[UPDRAFT_VERSION_BYTES + 1];
};

/* A file, as its server tells it from others. */
struct updraft_file {
    /* As sent; empty if there was none. */
    char etag[UPDRAFT_ETAG_BYTES + 1];
    /* Its length; 0 if the server did not say it. */
    uint32_t total;
};

/* A prefix of a file that lies in the slot; believed only once hashing it again confirms it. */
struct updraft_mark {
    struct updraft_file file;
    /* Whole sectors; 0: there is none. */
    uint32_t written;
    uint8_t digest[UPDRAFT_SHA256_BYTES];
};

struct updraft_version {
    uint8_t sha256[UPDRAFT_SHA256_BYTES];
    char text[UPDRAFT_VERSION_BYTES + 1];
};

struct updraft_failures {
    uint8_t sha256[UPDRAFT_SHA256_BYTES];
    uint8_t count;
};

struct updraft_record {
    /* Whether the bootloader was seen to roll back. */
    enum updraft_known rollback;
    /* The highest of an image that ran confirmed here: none below it is taken. */
    uint32_t secure_version;
    struct updraft_attempt attempt;
    struct updraft_mark mark;
    enum updraft_outcome result;
    char to[UPDRAFT_VERSION_BYTES + 1];
    char reason[UPDRAFT_REASON_BYTES + 1];
    /* Newest last. */
    struct updraft_version versions[UPDRAFT_KEPT];
    struct updraft_failures failures[UPDRAFT_KEPT];
    uint8_t version_count;
    uint8_t failure_count;
};

/* Reads a record; whether the bytes are one. All zero of `record` is a device that remembers nothing. */
bool updraft_record_read(struct updraft_record *record, const uint8_t bytes[UPDRAFT_RECORD_BYTES]);
void updraft_record_write(const struct updraft_record *record, uint8_t bytes[UPDRAFT_RECORD_BYTES]);

/* The version that bytes were published as; NULL if it is not known. */
const char *updraft_record_version(const struct updraft_record *record, const uint8_t *sha256);
void updraft_record_remember(struct updraft_record *record, const uint8_t *sha256, const char *version);
uint8_t updraft_record_failures(const struct updraft_record *record, const uint8_t *sha256);
void updraft_record_blame(struct updraft_record *record, const uint8_t *sha256);

#endif
