#include "agent.h"

#include <string.h>

#include "inside.h"

struct updraft_config updraft_defaults(void) {
    struct updraft_config config;
    memset(&config, 0, sizeof config);
    config.trial_ms = 60000;
    config.stall_ms = 30000;
    config.back_off_ms = 1000;
    config.retries = 5;
    config.url_wait_ms = 60000;
    config.url_requests = 5;
    config.last_message_ms = 2000;
    return config;
}

static bool is_id(const char *id) {
    const size_t length = id == NULL ? 0 : strlen(id);
    const char *const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-";
    return length > 0 && length <= UPDRAFT_DEVICE_ID_BYTES && strspn(id, letters) == length && strchr("._:-", id[0]) == NULL;
}

static void read_running(struct updraft *agent) {
    struct updraft_verifier *const verifier = &agent->verifier;
    struct updraft_running *const running = &agent->running;
    uint8_t *const chunk = agent->download.buffer;
    updraft_verifier_begin(verifier, UPDRAFT_SLOT);
    for (uint32_t at = 0; at + UPDRAFT_SECTOR_BYTES <= agent->config.running_bytes && updraft_verifier_wants_more(verifier);
         at += UPDRAFT_SECTOR_BYTES) {
        if (!agent->port->read(agent->port->context, UPDRAFT_RUNNING, at, chunk, UPDRAFT_SECTOR_BYTES)) {
            return;
        }
        updraft_verifier_add(verifier, chunk, UPDRAFT_SECTOR_BYTES);
    }
    const struct updraft_refusal refusal = updraft_verifier_verdict(verifier);
    if (!updraft_is_refused(&refusal)) {
        running->is_known = true;
        running->is_protected = updraft_verifier_is_protected(verifier);
        running->total_bytes = verifier->total_bytes;
        running->traits = verifier->traits;
        memcpy(running->sha256, verifier->sha256, sizeof running->sha256);
    }
}

const char *updraft_begin(struct updraft *agent, const struct updraft_config *config, const struct updraft_port *port,
                          uint64_t now_ms) {
    memset(agent, 0, sizeof *agent);
    agent->config = *config;
    agent->port = port;
    agent->now_ms = now_ms;
    agent->deadline_ms = UPDRAFT_NEVER;
    if (!is_id(config->device_id)) {
        return "the device id is not one: letters, digits and ._:-, at most 64";
    }
    if (config->target_bytes < UPDRAFT_SECTOR_BYTES || config->running_bytes < UPDRAFT_SECTOR_BYTES) {
        return "the partition table has no two slots for an image";
    }
    agent->has_begun = true;
    agent->is_kept = port->load(port->context, agent->record_bytes);
    if (agent->is_kept) {
        (void)updraft_record_read(&agent->record, agent->record_bytes);
    }
    read_running(agent);
    agent->running_state = port->state(port->context, UPDRAFT_RUNNING);
    updraft_wake(agent);
    return NULL;
}

bool updraft_store(struct updraft *agent) {
    updraft_record_write(&agent->record, agent->record_bytes);
    return agent->is_kept && agent->port->save(agent->port->context, agent->record_bytes);
}

void updraft_start(struct updraft *agent, uint32_t after_ms) { agent->deadline_ms = agent->now_ms + after_ms; }

bool updraft_is_due(const struct updraft *agent) { return agent->now_ms >= agent->deadline_ms; }

static void go_idle(struct updraft *agent) {
    agent->cancel_due = agent->cancel_due || agent->phase == UPDRAFT_FETCHING;
    agent->phase = UPDRAFT_IDLE;
    agent->deadline_ms = UPDRAFT_NEVER;
}

void updraft_conclude(struct updraft *agent, enum updraft_outcome result, const char *reason) {
    struct updraft_record *const record = &agent->record;
    go_idle(agent);
    memset(&record->attempt, 0, sizeof record->attempt);
    record->result = result;
    (void)updraft_text_copy(record->to, sizeof record->to, agent->download.to);
    (void)updraft_text_copy(record->reason, sizeof record->reason, reason);
    agent->outbox.result = result;
    (void)updraft_text_copy(agent->outbox.reason, sizeof agent->outbox.reason, reason);
    (void)updraft_store(agent);
    updraft_say_outcome(agent);
}

/* With SUCCESS comes nothing, unless no report can tell what runs; then its hash does. */
void updraft_succeed(struct updraft *agent) {
    char reason[UPDRAFT_REASON_BYTES + 1];
    struct updraft_text text = updraft_text_in(reason, sizeof reason);
    if (updraft_running_version(agent) == NULL && agent->running.is_known) {
        updraft_text_add(&text, "sha256 ");
        updraft_text_add_bytes(&text, agent->running.sha256, UPDRAFT_SHA256_BYTES);
    }
    updraft_conclude(agent, UPDRAFT_SUCCESS, reason);
    updraft_say_report(agent);
}

void updraft_fail(struct updraft *agent, struct updraft_refusal refusal, const char *text) {
    char reason[UPDRAFT_REASON_BYTES + 1];
    updraft_reason(reason, &refusal, text);
    updraft_conclude(agent, UPDRAFT_FAILED, reason);
}

void updraft_refuse_image(struct updraft *agent, struct updraft_refusal refusal) {
    char named[UPDRAFT_VERSION_BYTES + 1];
    memcpy(named, agent->download.to, sizeof named);
    if (refusal.says == UPDRAFT_SAYS_WRONG_VERSION) {
        updraft_fail(agent, refusal, named);
    } else {
        updraft_fail(agent, refusal, agent->running.is_known ? agent->running.traits.project : "");
    }
}

void updraft_note_confirmed(struct updraft *agent) {
    const uint32_t version = agent->running.is_known ? agent->running.traits.secure_version : 0;
    if (version > agent->record.secure_version) {
        agent->record.secure_version = version;
        (void)updraft_store(agent);
    }
}

void updraft_connected(struct updraft *agent, uint64_t now_ms) {
    if (!agent->has_begun) {
        return;
    }
    agent->now_ms = now_ms;
    agent->is_connected = true;
    agent->outbox.online = agent->config.says_online;
    if (agent->has_blamed) {
        updraft_record_blame(&agent->record, agent->blamed);
        agent->has_blamed = false;
        (void)updraft_store(agent);
    }
    /* A trial that succeeds now reports afterwards, in its new state. */
    if (agent->phase == UPDRAFT_TRIAL) {
        updraft_judge_trial(agent);
    } else {
        updraft_note_confirmed(agent);
        updraft_say_report(agent);
    }
    updraft_say_outcome(agent);
    if (agent->phase == UPDRAFT_AWAITING_URL && agent->deadline_ms == UPDRAFT_NEVER) {
        updraft_ask_for_url(agent);
    }
}

void updraft_disconnected(struct updraft *agent) { agent->is_connected = false; }

void updraft_acknowledged(struct updraft *agent, uint32_t id, uint64_t now_ms) {
    agent->now_ms = now_ms;
    if (id == agent->outbox.status_id && !agent->outbox.status) {
        agent->outbox.result = UPDRAFT_NO_OUTCOME;
    }
    if (agent->phase == UPDRAFT_WAITING_FOR_RESTART && id == agent->outbox.restart_id) {
        agent->phase = UPDRAFT_RESTARTING;
    }
}

static void obey(struct updraft *agent, const uint8_t *payload, size_t count) {
    static const char CLEAR[] = "clear_quarantine";
    static const char FORCE[] = "force";
    if (count == sizeof CLEAR - 1 && memcmp(payload, CLEAR, count) == 0) {
        agent->has_blamed = false;
        agent->record.failure_count = 0;
        (void)updraft_store(agent);
    } else if (count == sizeof FORCE - 1 && memcmp(payload, FORCE, count) == 0) {
        agent->is_forced = true;
    }
}

bool updraft_message(struct updraft *agent, const char *topic, const uint8_t *payload, size_t payload_bytes, bool is_retained,
                     uint64_t now_ms) {
    char own[UPDRAFT_TOPIC_BYTES];
    if (!agent->has_begun) {
        return false;
    }
    agent->now_ms = now_ms;
    updraft_topic(agent, "ota", own);
    if (strcmp(topic, own) == 0) {
        /* A retained one would be obeyed at every connect. */
        if (!is_retained) {
            updraft_take_trigger(agent, (const char *)payload, payload_bytes);
        }
        return true;
    }
    updraft_topic(agent, "ota/control", own);
    if (strcmp(topic, own) != 0) {
        return false;
    }
    if (!is_retained) {
        obey(agent, payload, payload_bytes);
    }
    return true;
}

void updraft_self_test(struct updraft *agent, const char *why_not, uint64_t now_ms) {
    agent->now_ms = now_ms;
    if (agent->phase != UPDRAFT_TRIAL) {
        return;
    }
    if (why_not != NULL) {
        updraft_reject(agent, updraft_refuse(UPDRAFT_SAYS_CHECK_FAILED), why_not);
        return;
    }
    agent->is_well = true;
    updraft_judge_trial(agent);
}

void updraft_tick(struct updraft *agent, uint64_t now_ms) {
    struct updraft_refusal refusal = updraft_fine();
    agent->now_ms = now_ms;
    switch (agent->phase) {
    case UPDRAFT_TRIAL:
        updraft_judge_trial(agent);
        break;
    case UPDRAFT_FETCHING:
        if (updraft_is_due(agent)) {
            updraft_retry(agent, updraft_refuse1(UPDRAFT_SAYS_SILENT, agent->config.stall_ms / 1000U), "");
        }
        break;
    case UPDRAFT_PAUSING:
        if (updraft_is_due(agent)) {
            updraft_fetch_now(agent);
        }
        break;
    case UPDRAFT_AWAITING_URL:
        if (updraft_is_due(agent)) {
            updraft_ask_for_url(agent);
        }
        break;
    case UPDRAFT_RESUMING:
        if (updraft_slot_resume(agent, &refusal)) {
            agent->download.wants_tail = false;
            updraft_fetch_now(agent);
        } else if (updraft_is_refused(&refusal)) {
            updraft_fail(agent, refusal, "");
        }
        break;
    case UPDRAFT_VERIFYING:
        updraft_verify_on(agent);
        break;
    case UPDRAFT_WAITING_FOR_RESTART:
        if (updraft_is_due(agent)) {
            agent->phase = UPDRAFT_RESTARTING;
        }
        break;
    default:
        break;
    }
}

static void write_range(struct updraft *agent) {
    const struct updraft_download *const download = &agent->download;
    struct updraft_text text = updraft_text_in(agent->range, sizeof agent->range);
    updraft_text_add(&text, "bytes=");
    if (download->wants_tail) {
        updraft_text_add(&text, "-");
        updraft_text_add_number(&text, UPDRAFT_TAIL_BYTES);
    } else {
        updraft_text_add_number(&text, download->received);
        updraft_text_add(&text, "-");
    }
}

bool updraft_poll(struct updraft *agent, struct updraft_action *action) {
    memset(action, 0, sizeof *action);
    if (agent->cancel_due) {
        agent->cancel_due = false;
        action->kind = UPDRAFT_CANCEL;
        return true;
    }
    if (agent->phase == UPDRAFT_FETCHING && agent->fetch != agent->fetch_announced) {
        const char *const etag = agent->download.file.etag;
        agent->fetch_announced = agent->fetch;
        write_range(agent);
        action->kind = UPDRAFT_FETCH;
        action->id = agent->fetch;
        action->url = agent->download.url;
        action->range = agent->range;
        action->if_range = (!agent->download.wants_tail && etag[0] == '"') ? etag : NULL;
        return true;
    }
    if (agent->is_connected && updraft_next_message(agent, action)) {
        return true;
    }
    action->kind = UPDRAFT_RESTART;
    return agent->phase == UPDRAFT_RESTARTING;
}

bool updraft_may_sleep(const struct updraft *agent) {
    return agent->phase == UPDRAFT_IDLE && agent->outbox.result == UPDRAFT_NO_OUTCOME && !agent->outbox.report;
}
