#include "record.h"

#include <string.h>

#include "bytes.h"

#define MAGIC 0x31435055U /* "UPC1" */
#define TAG_BYTES 8U
#define TAG_AT (UPDRAFT_RECORD_BYTES - TAG_BYTES)
#define DIGEST UPDRAFT_SHA256_BYTES

/* All fields at their longest fill less, which a test checks. */
struct writer {
    uint8_t *bytes;
    size_t at;
};

static void put(struct writer *out, const void *bytes, size_t count) {
    memcpy(&out->bytes[out->at], bytes, count);
    out->at += count;
}

static void put_byte(struct writer *out, unsigned byte) {
    const uint8_t one = (uint8_t)byte;
    put(out, &one, 1);
}

static void put_number(struct writer *out, uint32_t number) {
    uint8_t bytes[4];
    updraft_put_u32(bytes, number);
    put(out, bytes, sizeof bytes);
}

static void put_text(struct writer *out, const char *text) {
    const size_t length = strlen(text);
    put_byte(out, (unsigned)length);
    put(out, text, length);
}

static void tag_of(const uint8_t *bytes, uint8_t digest[DIGEST]) { updraft_sha256_of(bytes, TAG_AT, digest); }

void updraft_record_write(const struct updraft_record *record, uint8_t bytes[UPDRAFT_RECORD_BYTES]) {
    struct writer out = {bytes, 0};
    uint8_t digest[DIGEST];
    memset(bytes, 0, UPDRAFT_RECORD_BYTES);
    put_number(&out, MAGIC);
    put_byte(&out, (unsigned)record->rollback);
    put_number(&out, record->secure_version);
    put_byte(&out, (unsigned)record->attempt.stage);
    put_byte(&out, record->attempt.rearms);
    put(&out, record->attempt.sha256, DIGEST);
    put_text(&out, record->attempt.to);
    put_text(&out, record->mark.file.etag);
    put_number(&out, record->mark.file.total);
    put_number(&out, record->mark.written);
    put(&out, record->mark.digest, DIGEST);
    put_byte(&out, (unsigned)record->result);
    put_text(&out, record->to);
    put_text(&out, record->reason);
    put_byte(&out, record->version_count);
    for (size_t i = 0; i < record->version_count; i++) {
        put(&out, record->versions[i].sha256, DIGEST);
        put_text(&out, record->versions[i].text);
    }
    put_byte(&out, record->failure_count);
    for (size_t i = 0; i < record->failure_count; i++) {
        put(&out, record->failures[i].sha256, DIGEST);
        put_byte(&out, record->failures[i].count);
    }
    tag_of(bytes, digest);
    memcpy(&bytes[TAG_AT], digest, TAG_BYTES);
}

/* Reads with bounds: past the end it gives zeros and says so once, at the end. */
struct reader {
    const uint8_t *bytes;
    size_t at;
    bool is_good;
};

static void get(struct reader *in, void *bytes, size_t count) {
    if (count > TAG_AT - in->at) {
        in->is_good = false;
        memset(bytes, 0, count);
        return;
    }
    memcpy(bytes, &in->bytes[in->at], count);
    in->at += count;
}

static uint8_t get_byte(struct reader *in) {
    uint8_t byte = 0;
    get(in, &byte, 1);
    return byte;
}

/* A byte that counts up to a bound; more is no record. */
static uint8_t get_below(struct reader *in, unsigned bound) {
    const uint8_t byte = get_byte(in);
    in->is_good = in->is_good && byte < bound;
    return in->is_good ? byte : 0;
}

static uint32_t get_number(struct reader *in) {
    uint8_t bytes[4];
    get(in, bytes, sizeof bytes);
    return updraft_u32(bytes);
}

static void get_text(struct reader *in, char *text, size_t text_bytes) {
    const size_t length = get_below(in, (unsigned)text_bytes);
    get(in, text, length);
    text[length] = '\0';
}

bool updraft_record_read(struct updraft_record *record, const uint8_t bytes[UPDRAFT_RECORD_BYTES]) {
    struct reader in = {bytes, 0, true};
    uint8_t digest[DIGEST];
    memset(record, 0, sizeof *record);
    tag_of(bytes, digest);
    if (get_number(&in) != MAGIC || memcmp(&bytes[TAG_AT], digest, TAG_BYTES) != 0) {
        return false;
    }
    record->rollback = (enum updraft_known)get_below(&in, UPDRAFT_KNOWNS);
    record->secure_version = get_number(&in);
    record->attempt.stage = (enum updraft_attempt_stage)get_below(&in, UPDRAFT_ATTEMPT_STAGES);
    record->attempt.rearms = get_byte(&in);
    get(&in, record->attempt.sha256, DIGEST);
    get_text(&in, record->attempt.to, sizeof record->attempt.to);
    get_text(&in, record->mark.file.etag, sizeof record->mark.file.etag);
    record->mark.file.total = get_number(&in);
    record->mark.written = get_number(&in);
    get(&in, record->mark.digest, DIGEST);
    record->result = (enum updraft_outcome)get_below(&in, UPDRAFT_OUTCOMES);
    get_text(&in, record->to, sizeof record->to);
    get_text(&in, record->reason, sizeof record->reason);
    record->version_count = get_below(&in, UPDRAFT_KEPT + 1);
    for (size_t i = 0; i < record->version_count; i++) {
        get(&in, record->versions[i].sha256, DIGEST);
        get_text(&in, record->versions[i].text, sizeof record->versions[i].text);
    }
    record->failure_count = get_below(&in, UPDRAFT_KEPT + 1);
    for (size_t i = 0; i < record->failure_count; i++) {
        get(&in, record->failures[i].sha256, DIGEST);
        record->failures[i].count = get_byte(&in);
    }
    if (!in.is_good) {
        memset(record, 0, sizeof *record);
    }
    return in.is_good;
}

/* Makes room for one more item at a list's end: that of the same image goes, else the oldest if the list is full. The items
 * begin with the image's digest. */
static void *newest(void *list, size_t item_bytes, uint8_t *count, const uint8_t *sha256) {
    uint8_t *const items = list;
    size_t at = 0;
    while (at < *count && memcmp(&items[at * item_bytes], sha256, DIGEST) != 0) {
        at++;
    }
    if (at == *count && *count < UPDRAFT_KEPT) {
        *count = (uint8_t)(*count + 1U);
    } else {
        at = at == *count ? 0 : at;
        memmove(&items[at * item_bytes], &items[(at + 1) * item_bytes], (*count - at - 1U) * item_bytes);
    }
    uint8_t *const item = &items[(*count - 1U) * item_bytes];
    memset(item, 0, item_bytes);
    memcpy(item, sha256, DIGEST);
    return item;
}

const char *updraft_record_version(const struct updraft_record *record, const uint8_t *sha256) {
    for (size_t i = 0; i < record->version_count; i++) {
        if (memcmp(record->versions[i].sha256, sha256, DIGEST) == 0) {
            return record->versions[i].text;
        }
    }
    return NULL;
}

void updraft_record_remember(struct updraft_record *record, const uint8_t *sha256, const char *version) {
    struct updraft_version *const item =
        newest(record->versions, sizeof record->versions[0], &record->version_count, sha256);
    (void)updraft_text_copy(item->text, sizeof item->text, version);
}

uint8_t updraft_record_failures(const struct updraft_record *record, const uint8_t *sha256) {
    for (size_t i = 0; i < record->failure_count; i++) {
        if (memcmp(record->failures[i].sha256, sha256, DIGEST) == 0) {
            return record->failures[i].count;
        }
    }
    return 0;
}

void updraft_record_blame(struct updraft_record *record, const uint8_t *sha256) {
    const uint8_t before = updraft_record_failures(record, sha256);
    if (before == 0 && record->failure_count == UPDRAFT_KEPT) {
        /* One that failed once makes room; one in quarantine never does, or a few corrupt files would empty it. */
        size_t at = 0;
        while (at < UPDRAFT_KEPT && record->failures[at].count >= UPDRAFT_QUARANTINE_AT) {
            at++;
        }
        if (at == UPDRAFT_KEPT) {
            return;
        }
        memmove(&record->failures[at], &record->failures[at + 1], (UPDRAFT_KEPT - at - 1U) * sizeof record->failures[0]);
        record->failure_count--;
    }
    struct updraft_failures *const item =
        newest(record->failures, sizeof record->failures[0], &record->failure_count, sha256);
    item->count = (uint8_t)(before < UINT8_MAX ? before + 1U : before);
}
