/* Judging an image: by its end and its first bytes before anything is erased, and as a whole once it was read back; then
 * selecting it. Nothing is selected that was not read back whole. */
#include <string.h>

#include "inside.h"

/* How much one step reads: short enough that the network is not kept waiting. */
#define STEP_BYTES (64U * 1024U)

static uint32_t page_log2(const struct updraft_traits *traits) {
    /* An older build does not say; 64 KiB is what it means. */
    return traits->mmu_page_log2 == 0 ? 16U : (traits->mmu_page_log2 & 31U);
}

static uint32_t mode_says(uint8_t mode) {
    const uint32_t first = (uint32_t)UPDRAFT_SAYS_QIO;
    const uint32_t odd = (uint32_t)UPDRAFT_SAYS_ODD_MODE;
    return mode < odd - first ? first + mode : odd;
}

/* What a bootloader in the field does not put up with, or an application of another kind. */
static struct updraft_refusal agrees(const struct updraft_traits *new, const struct updraft_traits *old) {
    if (page_log2(new) != page_log2(old)) {
        return updraft_refuse2(UPDRAFT_SAYS_MMU_PAGE_SIZE, UINT32_C(1) << page_log2(new), UINT32_C(1) << page_log2(old));
    }
    if (new->flash_mode != old->flash_mode) {
        return updraft_refuse2(UPDRAFT_SAYS_FLASH_MODE, mode_says(new->flash_mode), mode_says(old->flash_mode));
    }
    if (new->project[0] != '\0' && old->project[0] != '\0' && strcmp(new->project, old->project) != 0) {
        return updraft_refuse(UPDRAFT_SAYS_WRONG_PROJECT);
    }
    return updraft_fine();
}

/* What the bytes say goes before what a URL or a header says of them. */
static struct updraft_refusal as_named(const struct updraft *agent, const struct updraft_traits *traits) {
    const char *const named = agent->download.to;
    const bool differs = traits->version[0] != '\0' && named[0] != '\0' && !updraft_version_equals(traits->version, named);
    return updraft_refuse(differs ? UPDRAFT_SAYS_WRONG_VERSION : UPDRAFT_SAYS_NOTHING);
}

struct updraft_refusal updraft_fits(const struct updraft *agent, const struct updraft_traits *traits) {
    const struct updraft_config *const config = &agent->config;
    const struct updraft_traits *const old = agent->running.is_known ? &agent->running.traits : NULL;
    const uint16_t max = traits->max_revision;
    uint32_t floor = config->secure_version > agent->record.secure_version ? config->secure_version : agent->record.secure_version;
    if (traits->chip != config->chip) {
        const bool is_named = strcmp(updraft_chip_name(traits->chip), updraft_chip_name(UINT32_MAX)) != 0;
        return updraft_refuse2(is_named ? UPDRAFT_SAYS_WRONG_CHIP : UPDRAFT_SAYS_UNKNOWN_CHIP, traits->chip, config->chip);
    }
    /* As ESP-IDF's bootloader decides: the highest revision counts only if it is set. */
    if (config->chip_revision < traits->min_revision || (max != 0 && max != UINT16_MAX && config->chip_revision > max)) {
        return updraft_refuse3(UPDRAFT_SAYS_CHIP_REVISION, traits->min_revision, max, config->chip_revision);
    }
    if (old != NULL) {
        const struct updraft_refusal refusal = agrees(traits, old);
        if (updraft_is_refused(&refusal)) {
            return refusal;
        }
        floor = old->secure_version > floor ? old->secure_version : floor;
    }
    if (traits->secure_version < floor) {
        return updraft_refuse2(UPDRAFT_SAYS_SECURE_VERSION, traits->secure_version, floor);
    }
    return as_named(agent, traits);
}

static struct updraft_refusal judge_signature(const struct updraft *agent, const uint8_t *sector) {
    const struct updraft_trust trust = {agent->config.trusted_keys, agent->config.trusted_key_count,
                                        agent->config.signatures_required, agent->port->verify, agent->port->context};
    return updraft_signed(sector, &trust);
}

/* Whether the running image ends with the very bytes that were received; its digest or its signature is among them. */
static bool ends_like_running(struct updraft *agent) {
    const struct updraft_port *const port = agent->port;
    const struct updraft_running *const running = &agent->running;
    const struct updraft_download *const download = &agent->download;
    uint8_t chunk[64];
    if (!running->is_known || !running->is_protected || running->total_bytes != download->file.total) {
        return false;
    }
    for (uint32_t at = 0; at < download->tail_bytes; at += (uint32_t)sizeof chunk) {
        const uint32_t left = download->tail_bytes - at;
        const uint32_t count = left < sizeof chunk ? left : (uint32_t)sizeof chunk;
        const uint32_t offset = running->total_bytes - download->tail_bytes + at;
        if (!port->read(port->context, UPDRAFT_RUNNING, offset, chunk, count) ||
            memcmp(chunk, &download->buffer[at], count) != 0) {
            return false;
        }
    }
    return true;
}

void updraft_judge_tail(struct updraft *agent) {
    struct updraft_download *const download = &agent->download;
    const struct updraft_mark *const mark = &agent->record.mark;
    const uint32_t total = download->file.total;
    if (download->tail_bytes != (total < UPDRAFT_TAIL_BYTES ? total : UPDRAFT_TAIL_BYTES)) {
        updraft_lose(agent, UPDRAFT_SAYS_SENT_LESS);
        return;
    }
    /* A file that is shorter than a sector has no signature; what lies behind it in the buffer is not looked at. */
    static const uint8_t NOTHING[1] = {0xFF};
    const uint8_t *const sector = download->tail_bytes < UPDRAFT_SECTOR_BYTES
                                      ? NOTHING
                                      : &download->buffer[download->tail_bytes - UPDRAFT_SECTOR_BYTES];
    struct updraft_refusal refusal = judge_signature(agent, sector);
    if (updraft_is_refused(&refusal)) {
        updraft_fail(agent, refusal, "");
        return;
    }
    if (ends_like_running(agent)) {
        refusal = as_named(agent, &agent->running.traits);
        if (updraft_is_refused(&refusal)) {
            updraft_refuse_image(agent, refusal);
            return;
        }
        if (download->to[0] != '\0') {
            updraft_record_remember(&agent->record, agent->running.sha256, download->to);
        }
        /* Nothing to download, and nothing to restart for. */
        updraft_succeed(agent);
        return;
    }
    download->tail_is_signed = sector[0] == 0xE7 ? UPDRAFT_YES : UPDRAFT_NO;
    download->may_resume = download->may_resume && mark->file.total == total && download->file.etag[0] == '"' &&
                           strcmp(mark->file.etag, download->file.etag) == 0;
    download->wants_tail = false;
    if (!download->may_resume) {
        updraft_fetch_now(agent);
        return;
    }
    updraft_slot_start_over(agent);
    agent->phase = UPDRAFT_RESUMING;
    updraft_start(agent, 0);
}

void updraft_begin_verification(struct updraft *agent) {
    updraft_verifier_begin(&agent->verifier, UPDRAFT_FILE);
    updraft_sha256_begin(&agent->download.read_back);
    agent->download.received = 0;
    agent->phase = UPDRAFT_VERIFYING;
    updraft_say_progress(agent, "verify", 0, agent->download.written, true);
    updraft_start(agent, 0);
}

/* Reads one sector of the target and gives it to the verifier; false: the flash failed. */
static bool read_on(struct updraft *agent, uint32_t *at, uint32_t end) {
    const struct updraft_port *const port = agent->port;
    uint8_t *const sector = agent->download.buffer;
    const uint32_t count = end - *at < UPDRAFT_SECTOR_BYTES ? end - *at : UPDRAFT_SECTOR_BYTES;
    if (!port->read(port->context, UPDRAFT_TARGET, *at, sector, UPDRAFT_SECTOR_BYTES)) {
        return false;
    }
    updraft_verifier_add(&agent->verifier, sector, count);
    updraft_sha256_add(&agent->download.read_back, sector, count);
    *at += count;
    return true;
}

/* The signature of what lies in the target, as the verifier found it there. */
static struct updraft_refusal judge_target_signature(struct updraft *agent) {
    const struct updraft_port *const port = agent->port;
    const struct updraft_verifier *const verifier = &agent->verifier;
    uint8_t *const sector = agent->download.buffer;
    const uint32_t offset = verifier->total_bytes - UPDRAFT_SECTOR_BYTES;
    memset(sector, 0xFF, UPDRAFT_SECTOR_BYTES);
    if (verifier->is_signed && !port->read(port->context, UPDRAFT_TARGET, offset, sector, UPDRAFT_SECTOR_BYTES)) {
        return updraft_refuse1(UPDRAFT_SAYS_READ_FAILED, offset);
    }
    return judge_signature(agent, sector);
}

static struct updraft_refusal judge_content(struct updraft *agent) {
    const struct updraft_verifier *const verifier = &agent->verifier;
    struct updraft_refusal refusal = updraft_verifier_verdict(verifier);
    if (!updraft_is_refused(&refusal)) {
        refusal = updraft_fits(agent, &verifier->traits);
    }
    if (!updraft_is_refused(&refusal) && !updraft_verifier_is_protected(verifier)) {
        refusal = updraft_refuse(UPDRAFT_SAYS_UNPROTECTED);
    }
    return updraft_is_refused(&refusal) ? refusal : judge_target_signature(agent);
}

static bool is_at_fault(enum updraft_says says) {
    static const char *const CODES[] = {"not_an_image", "damaged", "trailing_bytes", "unprotected", "bad_signature"};
    for (size_t i = 0; i < sizeof CODES / sizeof CODES[0]; i++) {
        if (strcmp(updraft_code(says), CODES[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* The whole file, as it lies on flash. What fails here by the image's own fault counts against it. */
static struct updraft_refusal judge(struct updraft *agent, const uint8_t *sha256) {
    if (updraft_record_failures(&agent->record, sha256) >= UPDRAFT_QUARANTINE_AT) {
        return updraft_refuse(UPDRAFT_SAYS_QUARANTINED);
    }
    const struct updraft_refusal refusal = judge_content(agent);
    if (is_at_fault(refusal.says)) {
        updraft_record_blame(&agent->record, sha256);
    }
    return refusal;
}

/* A good image: selected, unless it runs already. */
static void choose(struct updraft *agent, const uint8_t *sha256) {
    const struct updraft_port *const port = agent->port;
    struct updraft_download *const download = &agent->download;
    struct updraft_attempt *const attempt = &agent->record.attempt;
    const char *const known = updraft_record_version(&agent->record, sha256);
    const char *const own = agent->verifier.traits.version;
    if (own[0] != '\0' || (known != NULL && download->to[0] == '\0')) {
        (void)updraft_text_copy(download->to, sizeof download->to, own[0] != '\0' ? own : known);
    }
    if (download->to[0] != '\0') {
        updraft_record_remember(&agent->record, sha256, download->to);
    }
    memset(&agent->record.mark, 0, sizeof agent->record.mark);
    if (agent->running.is_known && memcmp(agent->running.sha256, sha256, UPDRAFT_SHA256_BYTES) == 0) {
        updraft_succeed(agent);
        return;
    }
    memset(attempt, 0, sizeof *attempt);
    memcpy(attempt->sha256, sha256, UPDRAFT_SHA256_BYTES);
    memcpy(attempt->to, download->to, sizeof attempt->to);
    attempt->stage = UPDRAFT_SELECTING;
    (void)updraft_store(agent);
    /* Cut before: the image is known by its digest, and selected at the next boot. Cut during: the entry that names the running
     * slot is in the other sector. What counts after a fault is what the next boot will see. */
    if (!port->select(port->context) && port->runs_selected(port->context)) {
        updraft_fail(agent, updraft_refuse(UPDRAFT_SAYS_NOT_A_TARGET), "");
        return;
    }
    attempt->stage = UPDRAFT_SELECTED;
    (void)updraft_store(agent);
    agent->phase = UPDRAFT_WAITING_FOR_RESTART;
    updraft_say_progress(agent, "restart", download->written, download->written, true);
    updraft_start(agent, agent->config.last_message_ms);
}

bool updraft_target_is(struct updraft *agent, const uint8_t *sha256) {
    uint32_t at = 0;
    updraft_verifier_begin(&agent->verifier, UPDRAFT_SLOT);
    while (at < agent->config.target_bytes && updraft_verifier_wants_more(&agent->verifier)) {
        if (!read_on(agent, &at, agent->config.target_bytes)) {
            return false;
        }
    }
    struct updraft_refusal refusal = updraft_verifier_verdict(&agent->verifier);
    if (!updraft_is_refused(&refusal) && memcmp(agent->verifier.sha256, sha256, UPDRAFT_SHA256_BYTES) == 0) {
        refusal = judge_target_signature(agent);
        return !updraft_is_refused(&refusal);
    }
    return false;
}

void updraft_verify_on(struct updraft *agent) {
    const struct updraft_port *const port = agent->port;
    struct updraft_download *const download = &agent->download;
    uint8_t written[UPDRAFT_SHA256_BYTES];
    uint8_t found[UPDRAFT_SHA256_BYTES];
    const uint32_t end = download->written;
    const uint32_t step = download->received + STEP_BYTES < end ? download->received + STEP_BYTES : end;
    while (download->received < step) {
        if (!read_on(agent, &download->received, end)) {
            updraft_fail(agent, updraft_refuse1(UPDRAFT_SAYS_READ_FAILED, download->received), "");
            return;
        }
    }
    updraft_say_progress(agent, "verify", download->received, end, false);
    if (download->received < end) {
        return;
    }
    updraft_sha256_so_far(&download->hash, written);
    updraft_sha256_so_far(&download->read_back, found);
    const struct updraft_refusal refusal = memcmp(written, found, sizeof found) == 0
                                               ? judge(agent, written)
                                               : updraft_refuse(UPDRAFT_SAYS_READ_BACK_DIFFERS);
    if (!updraft_is_refused(&refusal)) {
        choose(agent, written);
        return;
    }
    /* What was refused must not lie there whole: a bootloader starts it if the running image is lost one day. Cut before: it is
     * refused again. Cut during or after: it does not boot. */
    (void)port->erase(port->context, 0);
    memset(&agent->record.mark, 0, sizeof agent->record.mark);
    updraft_refuse_image(agent, refusal);
}
