/* Waking up: what runs, and what became of the attempt that was under way, derived from flash. And a new image on trial, which is
 * confirmed only once it runs, the application is well and the broker was reached; else the one before runs again. */
#include <string.h>

#include "inside.h"

/* At most so often is a whole image selected again, without a download, after a cut ended its trial. */
#define REARMS_MAX 2U

/* What flash says of the attempt that was under way. */
enum fate {
    /* There was none, or its outcome is recorded. */
    FATE_NOTHING,
    /* The image it brought runs now and is to prove itself; AGAIN: it had its chance before. */
    FATE_TRIAL,
    FATE_TRIAL_AGAIN,
    /* It ended well; only the record was not written any more. */
    FATE_CONFIRMED,
    /* The download was cut short; what was written may still be good. */
    FATE_RESUME,
    /* The image lies in its slot and lost its chance without a fault of its own: it is selected again. */
    FATE_REARM,
    /* It was booted, or chosen to be, and the old image runs again. */
    FATE_ROLLED_BACK,
    /* As before, and the reason is recorded. */
    FATE_REJECTED,
    /* The running image was given up, and still runs: cut before otadata said so, or the bootloader came back to it. */
    FATE_STUCK
};

static bool may_be_power(enum updraft_reset reset) {
    return reset == UPDRAFT_RESET_POWER_ON || reset == UPDRAFT_RESET_BROWN_OUT;
}

/* Why the one boot of a new image ended unconfirmed, as far as the reset tells. */
static enum updraft_says why_aborted(enum updraft_reset reset) {
    switch (reset) {
    case UPDRAFT_RESET_PANIC:
        return UPDRAFT_SAYS_CRASHED;
    case UPDRAFT_RESET_WATCHDOG:
        return UPDRAFT_SAYS_HUNG;
    case UPDRAFT_RESET_POWER_ON:
    case UPDRAFT_RESET_BROWN_OUT:
        return UPDRAFT_SAYS_POWER_LOST;
    default:
        return UPDRAFT_SAYS_RESTARTED;
    }
}

/* Of an attempt whose image does not run. */
static enum fate fate_of_another(struct updraft *agent, enum updraft_says *why) {
    const struct updraft_port *const port = agent->port;
    const struct updraft_attempt *const attempt = &agent->record.attempt;
    const enum updraft_reset reset = agent->config.reset;
    const enum updraft_state trace = port->state(port->context, UPDRAFT_TARGET);
    *why = attempt->stage == UPDRAFT_BOOTED ? UPDRAFT_SAYS_POWER_LOST : UPDRAFT_SAYS_RESTARTED_UNSELECTED;
    switch (attempt->stage) {
    case UPDRAFT_NO_ATTEMPT:
        return FATE_NOTHING;
    case UPDRAFT_DOWNLOADING:
        return FATE_RESUME;
    case UPDRAFT_REJECTED:
        return FATE_REJECTED;
    case UPDRAFT_SELECTING:
        /* What otadata says of the slot may still be of the image that lay there before. */
        return FATE_REARM;
    default:
        break;
    }
    if (trace == UPDRAFT_STATE_ABORTED) {
        *why = why_aborted(reset);
        /* A power-on may be a cut, a button, or somebody who unplugged an image that hung: a guess, and so bounded. */
        return may_be_power(reset) ? FATE_REARM : FATE_ROLLED_BACK;
    }
    if (trace == UPDRAFT_STATE_NEW || trace == UPDRAFT_STATE_PENDING_VERIFY) {
        *why = UPDRAFT_SAYS_NOT_BOOTABLE;
        return FATE_ROLLED_BACK;
    }
    /* Of one that ran: the entry was erased to be written VALID, and the power went. */
    return FATE_REARM;
}

static enum fate fate(struct updraft *agent, enum updraft_says *why) {
    const struct updraft_port *const port = agent->port;
    const struct updraft_attempt *const attempt = &agent->record.attempt;
    const enum updraft_state state = agent->running_state;
    const bool is_selected = port->runs_selected(port->context);
    const bool is_of_running = attempt->stage > UPDRAFT_DOWNLOADING && agent->running.is_known &&
                               memcmp(attempt->sha256, agent->running.sha256, UPDRAFT_SHA256_BYTES) == 0;
    const bool is_brought = is_of_running && attempt->stage != UPDRAFT_REJECTED;
    const bool is_unconfirmed = state == UPDRAFT_STATE_NEW || state == UPDRAFT_STATE_PENDING_VERIFY;
    if (is_of_running && !is_brought) {
        return FATE_STUCK;
    }
    /* A torn erase can leave any state at all, or no entry; an image that an attempt brought is trusted once it is VALID. */
    if ((is_selected && is_unconfirmed) || (is_brought && !(is_selected && state == UPDRAFT_STATE_VALID))) {
        /* A bootloader that rolls back never boots PENDING_VERIFY or NEW a second time. */
        return is_brought && attempt->stage == UPDRAFT_BOOTED ? FATE_TRIAL_AGAIN : FATE_TRIAL;
    }
    return is_brought ? FATE_CONFIRMED : fate_of_another(agent, why);
}

static void begin_trial(struct updraft *agent, bool again) {
    struct updraft_record *const record = &agent->record;
    struct updraft_attempt *const attempt = &record->attempt;
    const char *const version = updraft_running_version(agent);
    if (agent->running_state == UPDRAFT_STATE_PENDING_VERIFY) {
        /* The bootloader made it so, and can roll back, unless this image was here before. */
        record->rollback = again ? UPDRAFT_NO : UPDRAFT_YES;
    } else if (agent->running_state == UPDRAFT_STATE_NEW || agent->running_state == UPDRAFT_STATE_UNDEFINED) {
        record->rollback = UPDRAFT_NO;
    }
    (void)updraft_text_copy(agent->download.to, sizeof agent->download.to, version == NULL ? "" : version);
    if (!agent->running.is_known || memcmp(attempt->sha256, agent->running.sha256, UPDRAFT_SHA256_BYTES) != 0) {
        memset(attempt, 0, sizeof *attempt);
        memcpy(attempt->sha256, agent->running.sha256, UPDRAFT_SHA256_BYTES);
        memcpy(attempt->to, agent->download.to, sizeof attempt->to);
    }
    attempt->stage = UPDRAFT_BOOTED;
    agent->phase = UPDRAFT_TRIAL;
    updraft_start(agent, agent->config.trial_ms);
    /* The boot that a bootloader with rollback would have refused. Power that came on says nothing against the image. */
    if (again && agent->config.reset != UPDRAFT_RESET_POWER_ON) {
        updraft_reject(agent, updraft_refuse(UPDRAFT_SAYS_NOT_CONFIRMED), "");
    } else {
        (void)updraft_store(agent);
    }
}

/* Selects an image that lies in its slot, whole, for another boot; whether that was done. */
static bool rearm(struct updraft *agent) {
    const struct updraft_port *const port = agent->port;
    struct updraft_attempt *const attempt = &agent->record.attempt;
    if (attempt->rearms >= REARMS_MAX || !updraft_target_is(agent, attempt->sha256)) {
        return false;
    }
    attempt->rearms++;
    attempt->stage = UPDRAFT_SELECTING;
    /* Cut before: this boot is as if it had not been. Cut during or after: the next boot tries once less. Without a record that
     * counts, it could be repeated without end. */
    if (!updraft_store(agent) || !port->select(port->context)) {
        return false;
    }
    attempt->stage = UPDRAFT_SELECTED;
    (void)updraft_store(agent);
    agent->phase = UPDRAFT_RESTARTING;
    return true;
}

/* A rejected image asked for its restart; a crash is seen in the reset; a power cut says nothing against the image. */
static void blame(struct updraft *agent) {
    agent->has_blamed = !may_be_power(agent->config.reset);
    memcpy(agent->blamed, agent->record.attempt.sha256, sizeof agent->blamed);
}

static void end_badly(struct updraft *agent, const char *reason) {
    memcpy(agent->download.to, agent->record.attempt.to, sizeof agent->download.to);
    updraft_conclude(agent, UPDRAFT_FAILED, reason);
}

/* The URL is gone with the memory; a fresh one is asked for as soon as there is a broker. */
static void resume_later(struct updraft *agent) {
    memcpy(agent->download.named, agent->record.attempt.to, sizeof agent->download.named);
    updraft_begin_attempt(agent);
    agent->download.is_interrupted = true;
    agent->fetch_announced = agent->fetch;
    updraft_ask_for_url(agent);
}

void updraft_wake(struct updraft *agent) {
    char reason[UPDRAFT_REASON_BYTES + 1];
    enum updraft_says why = UPDRAFT_SAYS_POWER_LOST;
    enum fate found = fate(agent, &why);
    if (found == FATE_REARM) {
        if (rearm(agent)) {
            return;
        }
        found = FATE_ROLLED_BACK;
    }
    const struct updraft_refusal refusal = updraft_refuse(why);
    switch (found) {
    case FATE_TRIAL:
    case FATE_TRIAL_AGAIN:
        begin_trial(agent, found == FATE_TRIAL_AGAIN);
        break;
    case FATE_CONFIRMED:
        memcpy(agent->download.to, agent->record.attempt.to, sizeof agent->download.to);
        updraft_succeed(agent);
        break;
    case FATE_RESUME:
        resume_later(agent);
        break;
    case FATE_ROLLED_BACK:
        blame(agent);
        updraft_reason(reason, &refusal, "");
        end_badly(agent, reason);
        break;
    case FATE_REJECTED:
        blame(agent);
        (void)updraft_text_copy(reason, sizeof reason, agent->record.reason);
        end_badly(agent, reason);
        break;
    case FATE_STUCK:
        if (agent->port->runs_selected(agent->port->context) && agent->port->can_leave(agent->port->context) &&
            agent->port->leave(agent->port->context)) {
            agent->phase = UPDRAFT_RESTARTING;
            break;
        }
        memset(&agent->record.attempt, 0, sizeof agent->record.attempt);
        (void)updraft_store(agent);
        break;
    default:
        break;
    }
}

/* Ends the trial well. What does not work is done again with the next event, until the time is up. */
static void confirm(struct updraft *agent) {
    const struct updraft_port *const port = agent->port;
    const bool is_triggered = agent->is_triggered;
    /* Cut before: one boot was all there was, and the bootloader rolls back. Cut during, between ESP-IDF's erase and its write: the
     * old image runs; it finds the new one whole in its slot, knows it by its digest, and selects it again. Cut after: confirmed,
     * which the next boot finds in otadata even if the record says less. */
    const bool is_done = port->confirm(port->context);
    agent->running_state = port->state(port->context, UPDRAFT_RUNNING);
    if (!is_done || !port->runs_selected(port->context) || agent->running_state != UPDRAFT_STATE_VALID) {
        if (updraft_is_due(agent)) {
            updraft_reject(agent, updraft_refuse(UPDRAFT_SAYS_NOT_RUNNING), "");
        }
        return;
    }
    agent->is_triggered = false;
    updraft_note_confirmed(agent);
    updraft_succeed(agent);
    if (is_triggered) {
        updraft_begin_if_wanted(agent);
    }
}

void updraft_judge_trial(struct updraft *agent) {
    if (agent->is_connected && (agent->is_well || !agent->config.waits_for_application)) {
        confirm(agent);
    } else if (updraft_is_due(agent)) {
        const enum updraft_says says = agent->is_connected ? UPDRAFT_SAYS_NOT_WELL : UPDRAFT_SAYS_BROKER_NOT_REACHED;
        updraft_reject(agent, updraft_refuse1(says, (agent->config.trial_ms + 999U) / 1000U), "");
    }
}

void updraft_reject(struct updraft *agent, struct updraft_refusal refusal, const char *text) {
    const struct updraft_port *const port = agent->port;
    struct updraft_record *const record = &agent->record;
    if (!port->can_leave(port->context)) {
        /* Better an image that fails its test than none: it goes on trying for as long as it takes, says so, and takes whatever it
         * is offered. */
        updraft_say_report(agent);
        agent->deadline_ms = UPDRAFT_NEVER;
        return;
    }
    record->result = UPDRAFT_FAILED;
    memcpy(record->to, record->attempt.to, sizeof record->to);
    updraft_reason(record->reason, &refusal, text);
    record->attempt.stage = UPDRAFT_REJECTED;
    (void)updraft_store(agent);
    /* Cut before: a bootloader with rollback aborts the image; without, this is done again at the next boot. A fault has the
     * effect of a cut. */
    (void)port->leave(port->context);
    agent->phase = UPDRAFT_RESTARTING;
}
