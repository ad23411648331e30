/* The agent's loop, and the messages that other tasks leave for it. */
#ifdef ESP_PLATFORM

#include "updraft_esp.h"

#include <esp_ota_ops.h>
#include <esp_system.h>
#include <esp_timer.h>
#include <freertos/FreeRTOS.h>
#include <freertos/semphr.h>
#include <freertos/task.h>
#include <string.h>

#include "esp/parts.h"
#include "updraft/inside.h"

/* At most so many acknowledgements wait. */
#define ACKNOWLEDGED 8U
/* The longest word on the control topic, and more. */
#define CONTROL_BYTES 32U
#define TASK_STACK_BYTES 8192U
/* How much longer than a trial may take it is waited for a loop that is never called. */
#define GUARD_MS 10000U
/* What the client did not take is said again so much later. */
#define SAY_AGAIN_MS 5000U

/* What happened since the loop looked last. Only copied under the lock, so that no client's own lock is ever waited for. */
struct mailbox {
    bool is_connected;
    bool has_connected;
    bool has_trigger;
    bool has_control;
    bool has_self_test;
    bool is_well;
    size_t trigger_bytes;
    size_t control_bytes;
    size_t acknowledged;
    int ids[ACKNOWLEDGED];
    char why_not[UPDRAFT_REASON_BYTES + 1];
    uint8_t control[CONTROL_BYTES];
    uint8_t trigger[UPDRAFT_URL_BYTES + 1];
};

static struct updraft agent;
static struct updraft_port port;
static struct updraft_esp_config config;
static struct mailbox mailbox;
static SemaphoreHandle_t lock;
static StaticSemaphore_t lock_memory;
static esp_timer_handle_t guard;
static bool is_begun;
static bool was_connected;
/* The client's id of a message, and the agent's. */
static int status_id_of_client;
static uint32_t status_id;
/* 0: the client took everything. */
static uint64_t say_again_ms;
static char trigger_topic[UPDRAFT_TOPIC_BYTES];
static char control_topic[UPDRAFT_TOPIC_BYTES];
static char presence_topic[UPDRAFT_TOPIC_BYTES];

uint64_t updraft_esp_now_ms(void) { return (uint64_t)(esp_timer_get_time() / 1000); }
const char *updraft_esp_trigger_topic(void) { return trigger_topic; }
const char *updraft_esp_control_topic(void) { return control_topic; }
const char *updraft_esp_presence_topic(void) { return is_begun ? presence_topic : NULL; }

static void take(void) { (void)xSemaphoreTake(lock, portMAX_DELAY); }
static void give(void) { (void)xSemaphoreGive(lock); }

/* A new image that waits in setup() for ever, or hangs, never gets to the loop: it is left all the same. */
static void on_guard(void *unused) {
    (void)unused;
    esp_restart();
}

static bool is_on_trial(void) { return agent.phase == UPDRAFT_TRIAL && agent.deadline_ms != UPDRAFT_NEVER; }

static void start_guard(void) {
    esp_timer_create_args_t arguments;
    memset(&arguments, 0, sizeof arguments);
    arguments.callback = on_guard;
    arguments.name = "updraft";
    if (esp_timer_create(&arguments, &guard) == ESP_OK) {
        (void)esp_timer_start_once(guard, ((uint64_t)config.agent.trial_ms + GUARD_MS) * 1000U);
    }
}

static void stop_guard(void) {
    if (guard != NULL) {
        (void)esp_timer_stop(guard);
        guard = NULL;
    }
}

/* A new image that cannot be updated is never confirmed: the one before runs again, if there is one. */
static void leave_new_image(void) {
    esp_ota_img_states_t state = ESP_OTA_IMG_UNDEFINED;
    const esp_partition_t *const running = esp_ota_get_running_partition();
    if (running != NULL && esp_ota_get_state_partition(running, &state) == ESP_OK && state == ESP_OTA_IMG_PENDING_VERIFY) {
        (void)esp_ota_mark_app_invalid_rollback_and_reboot();
    }
}

const char *updraft_esp_begin(const struct updraft_esp_config *given) {
    if (is_begun) {
        return "it has begun already";
    }
    config = *given;
    lock = xSemaphoreCreateMutexStatic(&lock_memory);
    const char *why = updraft_esp_open_port(&config.agent, &port);
    if (why == NULL) {
        why = updraft_begin(&agent, &config.agent, &port, updraft_esp_now_ms());
    }
    if (why != NULL) {
        leave_new_image();
        return why;
    }
    updraft_topic(&agent, "ota", trigger_topic);
    updraft_topic(&agent, "ota/control", control_topic);
    updraft_topic(&agent, "presence", presence_topic);
    is_begun = true;
    if (is_on_trial()) {
        start_guard();
    }
    /* What flash says may already ask for a restart. */
    updraft_esp_loop();
    return NULL;
}

void updraft_esp_connected(void) {
    if (is_begun) {
        take();
        mailbox.is_connected = true;
        mailbox.has_connected = true;
        give();
    }
}

void updraft_esp_disconnected(void) {
    if (is_begun) {
        take();
        mailbox.is_connected = false;
        give();
    }
}

bool updraft_esp_message(const char *topic, const void *payload, size_t payload_bytes, bool is_retained) {
    const bool is_trigger = is_begun && strcmp(topic, trigger_topic) == 0;
    const bool is_control = is_begun && strcmp(topic, control_topic) == 0;
    if (is_retained || !(is_trigger || is_control)) {
        return is_trigger || is_control;
    }
    take();
    if (is_trigger) {
        /* One that is too long is no URL, and is refused as one. */
        mailbox.trigger_bytes = payload_bytes < sizeof mailbox.trigger ? payload_bytes : sizeof mailbox.trigger;
        memcpy(mailbox.trigger, payload, mailbox.trigger_bytes);
        mailbox.has_trigger = true;
    } else if (payload_bytes <= CONTROL_BYTES) {
        memcpy(mailbox.control, payload, payload_bytes);
        mailbox.control_bytes = payload_bytes;
        mailbox.has_control = true;
    }
    give();
    return true;
}

void updraft_esp_published(int id) {
    if (is_begun) {
        take();
        /* The oldest are the ones to keep: one of them is waited for. */
        if (mailbox.acknowledged < ACKNOWLEDGED) {
            mailbox.ids[mailbox.acknowledged] = id;
            mailbox.acknowledged++;
        }
        give();
    }
}

void updraft_esp_self_test(const char *why_not) {
    if (is_begun) {
        take();
        /* Once not well, whatever else is said before the loop looks. */
        if (!mailbox.has_self_test || mailbox.is_well) {
            mailbox.has_self_test = true;
            mailbox.is_well = why_not == NULL;
            (void)updraft_text_copy(mailbox.why_not, sizeof mailbox.why_not, why_not == NULL ? "" : why_not);
        }
        give();
    }
}

/* Gives the agent what was left for it. */
static void empty_mailbox(void) {
    static struct mailbox taken; /* Large for a task's stack. */
    const uint64_t now = updraft_esp_now_ms();
    take();
    taken = mailbox;
    mailbox.has_connected = false;
    mailbox.has_trigger = false;
    mailbox.has_control = false;
    mailbox.has_self_test = false;
    mailbox.acknowledged = 0;
    give();
    if (was_connected && (taken.has_connected || !taken.is_connected)) {
        updraft_disconnected(&agent);
        was_connected = false;
    }
    /* Before the broker is heard of, which may confirm the image. */
    if (taken.has_self_test) {
        updraft_self_test(&agent, taken.is_well ? NULL : taken.why_not, now);
    }
    if (taken.is_connected && taken.has_connected) {
        updraft_connected(&agent, now);
        was_connected = true;
    }
    for (size_t i = 0; i < taken.acknowledged; i++) {
        if (taken.ids[i] == status_id_of_client && status_id != 0) {
            updraft_acknowledged(&agent, status_id, now);
        }
    }
    if (taken.has_control) {
        (void)updraft_message(&agent, control_topic, taken.control, taken.control_bytes, false, now);
    }
    if (taken.has_trigger) {
        (void)updraft_message(&agent, trigger_topic, taken.trigger, taken.trigger_bytes, false, now);
    }
}

static void publish(const struct updraft_action *action) {
    const int id = config.publish(config.publish_context, action->topic, action->payload, action->is_retained);
    if (id == 0) {
        updraft_acknowledged(&agent, action->id, updraft_esp_now_ms());
    } else if (id < 0) {
        say_again_ms = updraft_esp_now_ms() + SAY_AGAIN_MS;
    } else if ((action->id == agent.outbox.status_id || action->id == agent.outbox.restart_id)) {
        status_id_of_client = id;
        status_id = action->id;
    }
}

void updraft_esp_loop(void) {
    struct updraft_action action;
    if (!is_begun) {
        return;
    }
    empty_mailbox();
    updraft_tick(&agent, updraft_esp_now_ms());
    if (say_again_ms != 0U && updraft_esp_now_ms() >= say_again_ms) {
        say_again_ms = 0;
        updraft_say_report(&agent);
        updraft_say_outcome(&agent);
    }
    if (!is_on_trial()) {
        stop_guard();
    }
    if (updraft_esp_is_fetching()) {
        updraft_esp_fetch_on(&agent);
    }
    while (updraft_poll(&agent, &action)) {
        switch (action.kind) {
        case UPDRAFT_CANCEL:
            updraft_esp_end_fetch();
            break;
        case UPDRAFT_FETCH:
            updraft_esp_fetch(&agent, &config, &action);
            break;
        case UPDRAFT_PUBLISH:
            publish(&action);
            break;
        default:
            esp_restart();
            return;
        }
    }
}

bool updraft_esp_is_busy(void) { return is_begun && !updraft_may_sleep(&agent); }

static void run(void *unused) {
    (void)unused;
    for (;;) {
        updraft_esp_loop();
        /* A busy fetch waits for its bytes by itself; this lets tasks of the same priority run. */
        vTaskDelay(pdMS_TO_TICKS(updraft_esp_is_fetching() ? 1 : 50));
    }
}

bool updraft_esp_start_task(void) {
    return is_begun && xTaskCreate(run, "updraft", TASK_STACK_BYTES, NULL, tskIDLE_PRIORITY + 1, NULL) == pdPASS;
}

#endif
