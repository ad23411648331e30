/* What the agent says: report, outcome, progress, requests. Each message is made when it is sent. */
#include <string.h>

#include "inside.h"

#define PROGRESS_MS 1000U

void updraft_topic(const struct updraft *agent, const char *end, char topic[UPDRAFT_TOPIC_BYTES]) {
    struct updraft_text text = updraft_text_in(topic, UPDRAFT_TOPIC_BYTES);
    updraft_text_add(&text, "devices/");
    updraft_text_add(&text, agent->config.device_id);
    updraft_text_add(&text, "/");
    updraft_text_add(&text, end);
}

const char *updraft_running_version(const struct updraft *agent) {
    const struct updraft_running *const running = &agent->running;
    if (running->is_known && running->traits.version[0] != '\0') {
        return running->traits.version;
    }
    if (agent->config.version != NULL) {
        return agent->config.version;
    }
    return running->is_known ? updraft_record_version(&agent->record, running->sha256) : NULL;
}

void updraft_say_report(struct updraft *agent) { agent->outbox.report = true; }

void updraft_say_outcome(struct updraft *agent) { agent->outbox.status = agent->outbox.result != UPDRAFT_NO_OUTCOME; }

void updraft_say_progress(struct updraft *agent, const char *phase, uint32_t done, uint32_t total, bool always) {
    struct updraft_outbox *const out = &agent->outbox;
    if (!always && agent->now_ms < out->progress_at_ms) {
        return;
    }
    out->progress_at_ms = agent->now_ms + PROGRESS_MS;
    out->progress = true;
    out->progress_phase = phase;
    out->progress_done = done;
    out->progress_total = total;
    if (agent->config.progress != NULL) {
        agent->config.progress(agent->config.context, phase, done, total);
    }
}

static void add_field(struct updraft_text *json, const char *key, const char *value) {
    if (value != NULL && value[0] != '\0') {
        updraft_text_add(json, ",\"");
        updraft_text_add(json, key);
        updraft_text_add(json, "\":\"");
        updraft_text_add_json(json, value);
        updraft_text_add(json, "\"");
    }
}

static const char *state_word(enum updraft_state state) {
    static const char *const WORDS[] = {"new", "pending_verify", "valid", "invalid", "aborted", "undefined"};
    return WORDS[state];
}

static const char *reset_word(enum updraft_reset reset) {
    static const char *const WORDS[] = {"unknown", "power_on", "software", "panic", "watchdog", "brown_out", "deep_sleep"};
    return WORDS[reset];
}

static const char *outcome_word(enum updraft_outcome outcome) { return outcome == UPDRAFT_SUCCESS ? "SUCCESS" : "FAILED"; }

static void add_last(const struct updraft_record *record, struct updraft_text *json) {
    if (record->result == UPDRAFT_NO_OUTCOME) {
        return;
    }
    updraft_text_add(json, ",\"last\":{");
    if (record->to[0] != '\0') {
        updraft_text_add(json, "\"to\":\"");
        updraft_text_add_json(json, record->to);
        updraft_text_add(json, "\",");
    }
    updraft_text_add(json, "\"result\":\"");
    updraft_text_add(json, outcome_word(record->result));
    updraft_text_add(json, "\"");
    add_field(json, "reason", record->reason);
    updraft_text_add(json, "}");
}

/* The keys in the order of the contract's report. */
static void write_report(const struct updraft *agent, struct updraft_text *json) {
    const struct updraft_config *const config = &agent->config;
    const uint32_t smallest =
        config->running_bytes < config->target_bytes ? config->running_bytes : config->target_bytes;
    updraft_text_add(json, "{\"version\":\"");
    updraft_text_add_json(json, updraft_running_version(agent));
    updraft_text_add(json, "\"");
    add_field(json, "product", config->product);
    add_field(json, "chip", updraft_chip_name(config->chip));
    if (agent->running.is_known) {
        updraft_text_add(json, ",\"sha256\":\"");
        updraft_text_add_bytes(json, agent->running.sha256, UPDRAFT_SHA256_BYTES);
        updraft_text_add(json, "\"");
    }
    add_field(json, "slot", config->slot);
    add_field(json, "state", state_word(agent->running_state));
    updraft_text_add(json, ",\"slot_bytes\":");
    updraft_text_add_number(json, smallest);
    if (agent->running.is_known) {
        updraft_text_add(json, ",\"secure_version\":");
        updraft_text_add_number(json, agent->running.traits.secure_version);
        updraft_text_add(json, agent->running.traits.is_stamped ? ",\"stamped\":true" : ",\"stamped\":false");
    }
    if (agent->record.rollback != UPDRAFT_UNKNOWN) {
        updraft_text_add(json, agent->record.rollback == UPDRAFT_YES ? ",\"rollback\":true" : ",\"rollback\":false");
    }
    add_field(json, "reset", reset_word(config->reset));
    updraft_text_add(json, ",\"lacks\":[");
    updraft_text_add(json, config->trusted_key_count == 0 ? "\"signatures\"," : "");
    updraft_text_add(json, agent->is_kept ? "" : "\"record\",");
    updraft_text_add(json, "\"crash_loops\"]");
    add_last(&agent->record, json);
    updraft_text_add(json, "}");
}

static void write_progress(const struct updraft_outbox *out, struct updraft_text *json) {
    updraft_text_add(json, "{\"phase\":\"");
    updraft_text_add(json, out->progress_phase);
    updraft_text_add(json, "\",\"done\":");
    updraft_text_add_number(json, out->progress_done);
    updraft_text_add(json, ",\"total\":");
    updraft_text_add_number(json, out->progress_total);
    updraft_text_add(json, "}");
}

static void write_status(const struct updraft_outbox *out, struct updraft_text *text) {
    updraft_text_add(text, outcome_word(out->result));
    if (out->reason[0] != '\0') {
        updraft_text_add(text, " ");
        updraft_text_add(text, out->reason);
    }
}

static void write_deferral(const struct updraft_outbox *out, struct updraft_text *text) {
    updraft_text_add(text, "DEFERRED ");
    updraft_text_add_number(text, out->deferral_s);
    if (out->deferral_reason[0] != '\0') {
        updraft_text_add(text, " ");
        updraft_text_add(text, out->deferral_reason);
    }
}

/* Writes the first of what waits; the end of its topic, NULL if nothing does. */
static const char *write_next(struct updraft *agent, struct updraft_text *text, uint32_t id) {
    struct updraft_outbox *const out = &agent->outbox;
    if (out->online) {
        out->online = false;
        updraft_text_add(text, "online");
        return "presence";
    }
    if (out->report) {
        out->report = false;
        if (updraft_running_version(agent) != NULL) {
            write_report(agent, text);
            return "version";
        }
    }
    if (out->status) {
        out->status = false;
        out->status_id = id;
        write_status(out, text);
        return "ota/status";
    }
    if (out->deferral) {
        out->deferral = false;
        write_deferral(out, text);
        return "ota/status";
    }
    if (out->request) {
        out->request = false;
        updraft_text_add(text, "url_expired");
        return "ota/request";
    }
    if (out->progress) {
        out->progress = false;
        if (agent->phase == UPDRAFT_WAITING_FOR_RESTART) {
            out->restart_id = id;
        }
        write_progress(out, text);
        return "ota/progress";
    }
    return NULL;
}

bool updraft_next_message(struct updraft *agent, struct updraft_action *action) {
    struct updraft_text text = updraft_text_in(agent->payload, sizeof agent->payload);
    const char *const end = write_next(agent, &text, agent->outbox.last_id + 1U);
    if (end == NULL) {
        return false;
    }
    agent->outbox.last_id++;
    updraft_topic(agent, end, agent->topic);
    action->kind = UPDRAFT_PUBLISH;
    action->id = agent->outbox.last_id;
    action->topic = agent->topic;
    action->payload = agent->payload;
    action->is_retained = strcmp(end, "presence") == 0;
    return true;
}
