/* What is fetched, from the trigger to each request for a part of the file, and how long it is tried: lost connections, slow
 * ones, and URLs that expired. */
#include <string.h>

#include "inside.h"

#define BACK_OFF_MAX_MS 60000U
/* In four times the time that a connection may be silent it must bring so many bytes. */
#define PACE_MIN_BYTES 4096U

static bool is_space(char letter) { return letter == ' ' || letter == '\t' || letter == '\r' || letter == '\n'; }

/* Takes a trigger's URL in place of the one before; after a false the one before stays. */
static bool take_url(struct updraft *agent, const char *payload, size_t count) {
    struct updraft_download *const download = &agent->download;
    while (count > 0 && is_space(payload[count - 1])) {
        count--;
    }
    while (count > 0 && is_space(payload[0])) {
        payload++;
        count--;
    }
    if (!updraft_url_is_good(payload, count)) {
        return false;
    }
    (void)updraft_text_copy_part(download->url, sizeof download->url, payload, count);
    download->path_tag = updraft_url_path_tag(download->url);
    updraft_url_version(download->url, download->named);
    return true;
}

/* Whether the application wants to be left alone; then it is said, and the server asks again later. */
static bool is_deferred(struct updraft *agent) {
    struct updraft_outbox *const out = &agent->outbox;
    if (agent->config.not_now == NULL || agent->is_forced) {
        agent->is_forced = false;
        return false;
    }
    out->deferral_reason[0] = '\0';
    out->deferral_s =
        agent->config.not_now(agent->config.context, out->deferral_reason, sizeof out->deferral_reason);
    out->deferral = out->deferral_s > 0;
    return out->deferral;
}

void updraft_begin_if_wanted(struct updraft *agent) {
    if (!is_deferred(agent)) {
        updraft_begin_attempt(agent);
    }
}

static void begin(struct updraft *agent, const char *payload, size_t count) {
    if (!take_url(agent, payload, count)) {
        updraft_reason(agent->outbox.reason, &(struct updraft_refusal){UPDRAFT_SAYS_NOT_A_URL, {0, 0, 0}}, "");
        agent->outbox.result = UPDRAFT_FAILED;
        updraft_say_outcome(agent);
    } else {
        updraft_begin_if_wanted(agent);
    }
}

/* A trigger in mid-download: the same artifact signed again, or another one. Both go on from here, and If-Range tells them
 * apart; without a tag only a path that stayed the same is trusted. */
static void renew(struct updraft *agent, const char *payload, size_t count) {
    struct updraft_download *const download = &agent->download;
    const uint32_t before = download->path_tag;
    if (!take_url(agent, payload, count)) {
        return; /* What is under way is not to end for it. */
    }
    download->redirects = 0;
    if (download->path_tag == before && (agent->phase == UPDRAFT_FETCHING || agent->phase == UPDRAFT_RESUMING)) {
        return; /* Sent twice, or ahead of time: kept for when the connection breaks. */
    }
    if (download->path_tag != before) {
        download->wants_tail = true;
        /* After a restart there is no path to compare; the mark has a tag of its own. */
        if (download->file.etag[0] != '"' && !download->may_resume) {
            download->received = 0;
            updraft_slot_start_over(agent);
        }
    }
    /* A path that names no version may still lead to the same file, as a short URL does. */
    if (download->named[0] != '\0') {
        memcpy(download->to, download->named, sizeof download->to);
    }
    updraft_fetch_now(agent);
}

void updraft_take_trigger(struct updraft *agent, const char *payload, size_t count) {
    switch (agent->phase) {
    case UPDRAFT_IDLE:
        begin(agent, payload, count);
        break;
    case UPDRAFT_TRIAL:
        /* One that has nothing to go back to is helped by nothing but a new image. */
        if (agent->deadline_ms == UPDRAFT_NEVER) {
            begin(agent, payload, count);
        } else if (take_url(agent, payload, count)) {
            agent->is_triggered = true;
        }
        break;
    case UPDRAFT_FETCHING:
    case UPDRAFT_PAUSING:
    case UPDRAFT_AWAITING_URL:
    case UPDRAFT_RESUMING:
        renew(agent, payload, count);
        break;
    default:
        break;
    }
}

void updraft_begin_attempt(struct updraft *agent) {
    struct updraft_download *const download = &agent->download;
    const struct updraft_mark *const mark = &agent->record.mark;
    memcpy(download->to, download->named, sizeof download->to);
    download->redirects = 0;
    download->retries = 0;
    download->url_requests = 0;
    download->is_ready = false;
    download->is_interrupted = false;
    download->wants_tail = true;
    download->tail_is_signed = UPDRAFT_UNKNOWN;
    /* What an earlier attempt at the same file left there. */
    download->may_resume = mark->written > 0 && mark->written % UPDRAFT_SECTOR_BYTES == 0 &&
                           mark->written < mark->file.total && mark->file.total <= agent->config.target_bytes;
    memset(&download->file, 0, sizeof download->file);
    download->received = 0;
    download->furthest = 0;
    updraft_slot_start_over(agent);
    /* Not saved before something is written: a refused image costs no wear. The same goes for otadata. */
    updraft_fetch_now(agent);
}

static void start_pace(struct updraft *agent) {
    agent->download.pace_bytes = 0;
    agent->download.pace_end_ms = agent->now_ms + (uint64_t)agent->config.stall_ms * 4U;
}

/* The fetch goes on, and is waited for again. */
static void go_on(struct updraft *agent) {
    agent->phase = UPDRAFT_FETCHING;
    updraft_start(agent, agent->config.stall_ms);
}

void updraft_fetch_now(struct updraft *agent) {
    struct updraft_download *const download = &agent->download;
    agent->fetch++;
    /* Back to what is on flash: a sector that was begun is asked for again, and the buffer is free. */
    download->filled = 0;
    download->received = download->written;
    download->tail_bytes = 0;
    start_pace(agent);
    go_on(agent);
}

void updraft_retry(struct updraft *agent, struct updraft_refusal refusal, const char *text) {
    struct updraft_download *const download = &agent->download;
    const struct updraft_config *const config = &agent->config;
    if (download->retries >= config->retries) {
        char words[UPDRAFT_REASON_BYTES + 1];
        struct updraft_text why = updraft_text_in(words, sizeof words);
        updraft_tell(&why, &refusal, text);
        updraft_fail(agent, updraft_refuse1(UPDRAFT_SAYS_GIVEN_UP, download->retries + 1U), words);
        return;
    }
    uint64_t pause = (uint64_t)config->back_off_ms << (download->retries < 16U ? download->retries : 16U);
    pause = pause < BACK_OFF_MAX_MS ? pause : BACK_OFF_MAX_MS;
    /* The clock's low bits are jitter enough to keep a fleet from coming back all at once. */
    const uint64_t jitter = agent->now_ms % (config->back_off_ms / 4U + 1U);
    agent->cancel_due = true;
    download->retries++;
    agent->phase = UPDRAFT_PAUSING;
    updraft_start(agent, (uint32_t)(pause + jitter));
}

void updraft_lose(struct updraft *agent, enum updraft_says says) { updraft_retry(agent, updraft_refuse(says), ""); }

void updraft_ask_for_url(struct updraft *agent) {
    struct updraft_download *const download = &agent->download;
    if (download->url_requests >= agent->config.url_requests) {
        updraft_fail(agent,
                     updraft_refuse(download->is_interrupted ? UPDRAFT_SAYS_RESTARTED_WITHOUT_URL : UPDRAFT_SAYS_NO_FRESH_URL),
                     "");
        return;
    }
    agent->phase = UPDRAFT_AWAITING_URL;
    if (agent->is_connected) {
        download->url_requests++;
        agent->outbox.request = true;
        updraft_start(agent, agent->config.url_wait_ms);
    } else {
        /* Nobody would receive it: it is asked for once there is a broker. */
        agent->deadline_ms = UPDRAFT_NEVER;
    }
}

void updraft_lost(struct updraft *agent, uint32_t fetch, const char *why, uint64_t now_ms) {
    agent->now_ms = now_ms;
    if (agent->phase == UPDRAFT_FETCHING && fetch == agent->fetch) {
        updraft_retry(agent, updraft_refuse(UPDRAFT_SAYS_LOST), why);
    }
}

/* A byte now and then keeps a connection from being silent, and would keep a device busy without end. */
static void judge_pace(struct updraft *agent, size_t bytes) {
    struct updraft_download *const download = &agent->download;
    const uint32_t room = UINT32_MAX - download->pace_bytes;
    download->pace_bytes += bytes < room ? (uint32_t)bytes : room;
    if (agent->phase != UPDRAFT_FETCHING || agent->now_ms < download->pace_end_ms) {
        return;
    }
    const bool is_quick = download->pace_bytes >= PACE_MIN_BYTES;
    start_pace(agent);
    if (!is_quick) {
        updraft_lose(agent, UPDRAFT_SAYS_TOO_SLOW);
    }
}

/* New bytes of the file itself; whether they were not too many. */
static struct updraft_refusal take(struct updraft *agent, const uint8_t *bytes, size_t count) {
    struct updraft_download *const download = &agent->download;
    const size_t skipped = count < download->skip ? count : download->skip;
    download->skip -= (uint32_t)skipped;
    bytes += skipped;
    count -= skipped;
    const size_t left = download->file.total == 0 ? UINT32_MAX : download->file.total - download->received;
    const size_t taken = count < left ? count : left;
    download->received += (uint32_t)taken;
    const struct updraft_refusal refusal = updraft_slot_add(agent, bytes, taken);
    if (!updraft_is_refused(&refusal) && taken < count) {
        return updraft_refuse(UPDRAFT_SAYS_SENT_MORE);
    }
    return refusal;
}

void updraft_received_body(struct updraft *agent, uint32_t fetch, const uint8_t *bytes, size_t count, uint64_t now_ms) {
    struct updraft_download *const download = &agent->download;
    agent->now_ms = now_ms;
    if (agent->phase != UPDRAFT_FETCHING || fetch != agent->fetch) {
        return;
    }
    if (download->wants_tail) {
        if (count > UPDRAFT_TAIL_BYTES - download->tail_bytes) {
            updraft_lose(agent, UPDRAFT_SAYS_TAIL_TOO_LONG);
            return;
        }
        memcpy(&download->buffer[download->tail_bytes], bytes, count);
        download->tail_bytes += (uint32_t)count;
    } else {
        const struct updraft_refusal refusal = take(agent, bytes, count);
        if (updraft_is_refused(&refusal)) {
            updraft_refuse_image(agent, refusal);
            return;
        }
        /* Bytes that came through make up for connections lost before, 64 KiB for one; but not those of a file that changed
         * and is begun again, or it would never end. */
        if (download->received >> 16 > download->furthest >> 16 && download->retries > 0) {
            download->retries--;
        }
        download->furthest = download->received > download->furthest ? download->received : download->furthest;
        updraft_say_progress(agent, "download", download->received, download->file.total, false);
    }
    go_on(agent);
    judge_pace(agent, count);
}

void updraft_received_end(struct updraft *agent, uint32_t fetch, uint64_t now_ms) {
    struct updraft_download *const download = &agent->download;
    agent->now_ms = now_ms;
    if (agent->phase != UPDRAFT_FETCHING || fetch != agent->fetch) {
        return;
    }
    if (download->wants_tail) {
        updraft_judge_tail(agent);
        return;
    }
    if (download->received < download->file.total) {
        updraft_lose(agent, UPDRAFT_SAYS_SENT_LESS);
        return;
    }
    const struct updraft_refusal refusal = updraft_slot_finish(agent);
    if (updraft_is_refused(&refusal)) {
        updraft_refuse_image(agent, refusal);
    } else {
        updraft_begin_verification(agent);
    }
}
