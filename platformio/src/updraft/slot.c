/* The flash's side of a download: a stream of an image's bytes, written to the target sector by sector.
 *
 * Each sector is erased just before it is written, what lies there is hashed, and the record says how far it is. Refused: an
 * image that is not for this device, from its first bytes and before anything is erased, and one that does not fit. */
#include <string.h>

#include "inside.h"

/* What lies between two marks, and what one step of hashing reads. */
#define STRETCH_BYTES (64U * 1024U)

void updraft_slot_start_over(struct updraft *agent) {
    struct updraft_download *const download = &agent->download;
    download->written = 0;
    download->filled = 0;
    updraft_sha256_begin(&download->hash);
}

/* Before the first erase: the attempt is on record, and otadata selects what runs. Else a new image in a slot that otadata
 * selects (whose own image was broken, or it would run) would boot the moment it is complete, unverified. */
static struct updraft_refusal make_ready(struct updraft *agent) {
    const struct updraft_port *const port = agent->port;
    struct updraft_attempt *const attempt = &agent->record.attempt;
    if (agent->download.is_ready) {
        return updraft_fine();
    }
    memset(attempt, 0, sizeof *attempt);
    attempt->stage = UPDRAFT_DOWNLOADING;
    memcpy(attempt->to, agent->download.to, sizeof attempt->to);
    (void)updraft_store(agent);
    /* Cut before, during or after: the selected slot is broken, and the bootloader passes it over as it did at this boot. */
    if (!port->runs_selected(port->context) && !port->confirm(port->context)) {
        return updraft_refuse(UPDRAFT_SAYS_NOT_RUNNING);
    }
    agent->running_state = port->state(port->context, UPDRAFT_RUNNING);
    agent->download.is_ready = true;
    return updraft_fine();
}

/* Notes down how far it is, so that a restart need not begin again. */
static void mark(struct updraft *agent) {
    const struct updraft_download *const download = &agent->download;
    struct updraft_mark *const mark = &agent->record.mark;
    if (download->written % STRETCH_BYTES == 0 && download->written < download->file.total && download->file.etag[0] == '"') {
        mark->file = download->file;
        mark->written = download->written;
        updraft_sha256_so_far(&download->hash, mark->digest);
        (void)updraft_store(agent);
    }
}

static struct updraft_refusal flush(struct updraft *agent) {
    const struct updraft_port *const port = agent->port;
    struct updraft_download *const download = &agent->download;
    struct updraft_refusal refusal = make_ready(agent);
    if (updraft_is_refused(&refusal)) {
        return refusal;
    }
    updraft_sha256_add(&download->hash, download->buffer, download->filled);
    memset(&download->buffer[download->filled], 0xFF, UPDRAFT_SECTOR_BYTES - download->filled);
    /* Cut before, during or after: the slot is not the running one, and otadata selects the running one since before the first
     * erase. What the slot holds is not looked at until a whole image was read back from it. */
    if (!port->erase(port->context, download->written)) {
        return updraft_refuse1(UPDRAFT_SAYS_ERASE_FAILED, download->written);
    }
    if (!port->write(port->context, download->written, download->buffer)) {
        return updraft_refuse1(UPDRAFT_SAYS_WRITE_FAILED, download->written);
    }
    download->written += download->filled;
    download->filled = 0;
    mark(agent);
    return updraft_fine();
}

static struct updraft_refusal check_prefix(struct updraft *agent) {
    struct updraft_traits traits;
    const struct updraft_download *const download = &agent->download;
    struct updraft_refusal refusal = updraft_prefix(download->buffer, download->filled, &traits);
    if (!updraft_is_refused(&refusal)) {
        refusal = updraft_fits(agent, &traits);
    }
    if (!updraft_is_refused(&refusal) && !traits.has_digest && download->tail_is_signed == UPDRAFT_NO) {
        refusal = updraft_refuse(UPDRAFT_SAYS_UNPROTECTED);
    }
    return refusal;
}

struct updraft_refusal updraft_slot_add(struct updraft *agent, const uint8_t *bytes, size_t count) {
    struct updraft_download *const download = &agent->download;
    struct updraft_refusal refusal = updraft_fine();
    while (count > 0 && !updraft_is_refused(&refusal)) {
        const uint32_t before = download->written + download->filled;
        /* Up to the next place where something is decided. */
        uint32_t room = UPDRAFT_SECTOR_BYTES - download->filled;
        if (before >= agent->config.target_bytes) {
            return updraft_refuse1(UPDRAFT_SAYS_LARGER_THAN_ROOM, agent->config.target_bytes);
        }
        if (before < UPDRAFT_PREFIX_BYTES) {
            room = UPDRAFT_PREFIX_BYTES - before;
        }
        const uint32_t taken = count < room ? (uint32_t)count : room;
        memcpy(&download->buffer[download->filled], bytes, taken);
        download->filled += taken;
        bytes += taken;
        count -= taken;
        if (download->written == 0 && download->filled == UPDRAFT_PREFIX_BYTES) {
            refusal = check_prefix(agent);
        } else if (download->filled == UPDRAFT_SECTOR_BYTES) {
            refusal = flush(agent);
        }
    }
    return refusal;
}

struct updraft_refusal updraft_slot_finish(struct updraft *agent) {
    const struct updraft_download *const download = &agent->download;
    struct updraft_refusal refusal = updraft_fine();
    if (download->written + download->filled < UPDRAFT_PREFIX_BYTES) {
        refusal = check_prefix(agent);
    }
    if (!updraft_is_refused(&refusal) && download->filled > 0) {
        refusal = flush(agent);
    }
    return refusal;
}

bool updraft_slot_resume(struct updraft *agent, struct updraft_refusal *refusal) {
    const struct updraft_port *const port = agent->port;
    const struct updraft_mark *const mark = &agent->record.mark;
    struct updraft_download *const download = &agent->download;
    uint8_t digest[UPDRAFT_SHA256_BYTES];
    for (uint32_t read = 0; read < STRETCH_BYTES && download->written < mark->written; read += UPDRAFT_SECTOR_BYTES) {
        if (!port->read(port->context, UPDRAFT_TARGET, download->written, download->buffer, UPDRAFT_SECTOR_BYTES)) {
            *refusal = updraft_refuse1(UPDRAFT_SAYS_READ_FAILED, download->written);
            return false;
        }
        updraft_sha256_add(&download->hash, download->buffer, UPDRAFT_SECTOR_BYTES);
        download->written += UPDRAFT_SECTOR_BYTES;
    }
    if (download->written < mark->written) {
        return false;
    }
    updraft_sha256_so_far(&download->hash, digest);
    if (memcmp(digest, mark->digest, sizeof digest) != 0) {
        updraft_slot_start_over(agent);
    }
    download->received = download->written;
    download->may_resume = false;
    return true;
}
