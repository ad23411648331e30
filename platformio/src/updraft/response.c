/* What a response's head means for the download. Refused: anything that would append one object to the start of another. */
#include <string.h>

#include "inside.h"

#define REDIRECTS_MAX 5U

static void start_over(struct updraft *agent) {
    agent->download.received = 0;
    updraft_slot_start_over(agent);
}

/* Begins a file; what was received of another one is void. */
static void begin_file(struct updraft *agent, const char *etag, uint32_t total) {
    struct updraft_file *const file = &agent->download.file;
    (void)updraft_text_copy(file->etag, sizeof file->etag, etag);
    file->total = total;
}

/* A length that the slot has room for; UPDRAFT_NEVER is not known, and 0. */
static struct updraft_refusal fits(const struct updraft *agent, uint64_t announced, uint32_t *total) {
    const uint32_t room = agent->config.target_bytes;
    *total = 0;
    if (announced == UPDRAFT_NEVER) {
        return updraft_fine();
    }
    if (announced == 0) {
        return updraft_refuse(UPDRAFT_SAYS_EMPTY);
    }
    *total = announced > UINT32_MAX ? UINT32_MAX : (uint32_t)announced;
    return *total <= room ? updraft_fine() : updraft_refuse2(UPDRAFT_SAYS_LARGER_THAN_SLOT, *total, room);
}

/* The whole is asked for without its end having been seen; it is judged once it lies in the slot. */
static void ask_for_image(struct updraft *agent) {
    agent->download.wants_tail = false;
    agent->cancel_due = true;
    updraft_fetch_now(agent);
}

static void accept(struct updraft *agent) {
    agent->phase = UPDRAFT_FETCHING;
    updraft_start(agent, agent->config.stall_ms);
}

static void on_image_head(struct updraft *agent, const struct updraft_head *head) {
    struct updraft_download *const download = &agent->download;
    const char *const etag = head->etag == NULL ? "" : head->etag;
    const bool is_part = head->status == 206;
    uint32_t total = 0;
    const struct updraft_refusal refusal = fits(agent, is_part ? head->range_total : head->content_length, &total);
    /* Of an answer before this one. */
    download->skip = 0;
    if (updraft_is_refused(&refusal)) {
        updraft_fail(agent, refusal, "");
        return;
    }
    if (is_part && head->range_start != UPDRAFT_NEVER && head->range_total == UPDRAFT_NEVER) {
        total = download->file.total;
    }
    if (is_part) {
        const char *const before = download->file.etag;
        if (head->range_start == UPDRAFT_NEVER) {
            updraft_lose(agent, UPDRAFT_SAYS_PART_UNSAID);
            return;
        }
        if (head->range_start != download->received) {
            updraft_lose(agent, UPDRAFT_SAYS_OTHER_PART);
            return;
        }
        const bool other_tag = etag[0] != '\0' && before[0] != '\0' && strcmp(etag, before) != 0;
        if (download->received > 0 && (other_tag || total != download->file.total)) {
            start_over(agent);
            updraft_lose(agent, UPDRAFT_SAYS_FILE_CHANGED);
            return;
        }
    } else if (etag[0] == '"' && strcmp(etag, download->file.etag) == 0 && total == download->file.total) {
        /* All of it again: what is known already is passed over, never appended. */
        download->skip = download->received;
    } else {
        start_over(agent);
    }
    if (download->received == 0) {
        updraft_slot_start_over(agent);
        begin_file(agent, etag, total);
        /* Whatever an earlier URL said was said of another file. */
        memcpy(download->to, download->named, sizeof download->to);
        if (download->named[0] == '\0' && head->version != NULL) {
            updraft_version_copy(download->to, head->version, strlen(head->version));
        }
    }
    updraft_say_progress(agent, "download", download->received, download->file.total, false);
    accept(agent);
}

static void on_tail_head(struct updraft *agent, const struct updraft_head *head) {
    struct updraft_download *const download = &agent->download;
    const char *const etag = head->etag == NULL ? "" : head->etag;
    uint32_t total = 0;
    if (head->status == 200) {
        download->wants_tail = false;
        on_image_head(agent, head);
        return;
    }
    if (head->range_start == UPDRAFT_NEVER || head->range_total == UPDRAFT_NEVER) {
        ask_for_image(agent);
        return;
    }
    const struct updraft_refusal refusal = fits(agent, head->range_total, &total);
    if (updraft_is_refused(&refusal)) {
        updraft_fail(agent, refusal, "");
        return;
    }
    if (head->range_start != (total > UPDRAFT_TAIL_BYTES ? total - UPDRAFT_TAIL_BYTES : 0U)) {
        ask_for_image(agent);
        return;
    }
    if (strcmp(download->file.etag, etag) != 0 || download->file.total != total) {
        start_over(agent);
        begin_file(agent, etag, total);
    }
    memcpy(download->to, download->named, sizeof download->to);
    if (download->named[0] == '\0' && head->version != NULL) {
        updraft_version_copy(download->to, head->version, strlen(head->version));
    }
    accept(agent);
}

static void follow(struct updraft *agent, const char *location) {
    struct updraft_download *const download = &agent->download;
    const struct updraft_refusal refusal = updraft_url_follow(download->url, location);
    if (updraft_is_refused(&refusal)) {
        updraft_fail(agent, refusal, "");
    } else if (download->redirects >= REDIRECTS_MAX) {
        updraft_fail(agent, updraft_refuse1(UPDRAFT_SAYS_REDIRECTS, REDIRECTS_MAX), "");
    } else {
        download->redirects++;
        agent->cancel_due = true;
        updraft_fetch_now(agent);
    }
}

static bool is_redirect(const struct updraft_head *head) {
    const uint32_t status = head->status;
    return head->location != NULL &&
           (status == 301 || status == 302 || status == 303 || status == 307 || status == 308);
}

/* Any status but 200 and 206. */
static void on_refusal(struct updraft *agent, uint32_t status) {
    const bool wants_tail = agent->download.wants_tail;
    const struct updraft_refusal refusal = updraft_refuse1(UPDRAFT_SAYS_ANSWERED, status);
    if (status == 401 || status == 403) {
        agent->cancel_due = true;
        updraft_ask_for_url(agent);
    } else if (wants_tail && (status == 416 || status == 501)) {
        ask_for_image(agent); /* A server that has no ends to give. */
    } else if (status == 416) {
        start_over(agent);
        updraft_lose(agent, UPDRAFT_SAYS_NO_SUCH_PART);
    } else if (status == 409 || status == 412) {
        start_over(agent); /* Replaced between the server's two looks at it. */
        updraft_lose(agent, UPDRAFT_SAYS_FILE_CHANGED);
    } else if (status == 408 || status == 429 || status >= 500) {
        updraft_retry(agent, refusal, "");
    } else {
        updraft_fail(agent, refusal, "");
    }
}

void updraft_received_head(struct updraft *agent, uint32_t fetch, const struct updraft_head *head, uint64_t now_ms) {
    agent->now_ms = now_ms;
    if (agent->phase != UPDRAFT_FETCHING || fetch != agent->fetch) {
        return;
    }
    if (is_redirect(head)) {
        follow(agent, head->location);
    } else if (head->status != 200 && head->status != 206) {
        on_refusal(agent, head->status);
    } else if (head->is_encoded) {
        updraft_fail(agent, updraft_refuse(UPDRAFT_SAYS_COMPRESSED), "");
    } else if (agent->download.wants_tail) {
        on_tail_head(agent, head);
    } else {
        on_image_head(agent, head);
    }
}
