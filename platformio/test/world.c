#include "world.h"

#include <stdio.h>
#include <string.h>

#include "esp/parts.h"
#include "updraft/bytes.h"

#define STEP_MS 10U
#define PIECE_BYTES 1460U
#define BOOTS_MAX 30U

uint64_t updraft_esp_now_ms(void) { return 0; }

bool updraft_esp_verify(void *context, const struct updraft_signature *signature) {
    (void)context;
    return signature->value[0] == signature->key[0] && memcmp(&signature->value[32], signature->digest, 32) == 0;
}

enum behaviour world_behaviour(void) {
    const uint8_t *const image = chip_slot(chip->running);
    return (enum behaviour)image[31U + updraft_u32(&image[28])];
}

void world_make(struct world *world, const struct image_options *options, bool has_rollback) {
    static uint8_t old[FILE_BYTES];
    const struct image_options before = image_options("1.0.0", 20000);
    memset(world, 0, sizeof *world);
    chip_make(old, image_build(&before, old), has_rollback);
    world->file_bytes = image_build(options, world->file);
    world->etag = "\"one\"";
    world->url = "http://server/lamp/releases/v1.1.0/firmware.bin?signature=secret";
    world->config = updraft_defaults();
    world->config.device_id = "lamp-1";
}

static void note(struct world *world, const struct updraft_action *action) {
    const int written = snprintf(&world->log[world->log_bytes], sizeof world->log - world->log_bytes, "%s %s\n", action->topic,
                                 action->payload);
    if (written > 0 && (size_t)written < sizeof world->log - world->log_bytes) {
        world->log_bytes += (size_t)written;
    }
    if (strcmp(action->topic, "devices/lamp-1/ota/status") == 0) {
        (void)snprintf(world->last_status, sizeof world->last_status, "%s", action->payload);
    }
    if (strcmp(action->topic, "devices/lamp-1/version") == 0) {
        (void)snprintf(world->last_report, sizeof world->last_report, "%s", action->payload);
    }
}

bool world_said(const struct world *world, const char *part) { return strstr(world->log, part) != NULL; }

void world_trigger(struct world *world) {
    (void)updraft_message(&world->agent, "devices/lamp-1/ota", (const uint8_t *)world->url, strlen(world->url), false,
                          world->now_ms);
}

/* Answers a fetch at once, piece by piece. */
static void serve(struct world *world, const struct updraft_action *action) {
    struct updraft *const agent = &world->agent;
    struct updraft_head head = {200, world->file_bytes, UPDRAFT_NEVER, UPDRAFT_NEVER, world->etag, NULL, NULL, false};
    const uint32_t fetch = action->id;
    unsigned number = 0;
    size_t at = 0;
    size_t sent = 0;
    world->requests++;
    if (world->is_silent) {
        return;
    }
    if (world->status_count > 0) {
        world->status_count--;
        head.status = world->status;
        updraft_received_head(agent, fetch, &head, world->now_ms);
        return;
    }
    if (!world->ignores_ranges) {
        const bool is_tail = sscanf(action->range, "bytes=-%u", &number) == 1;
        if (is_tail) {
            at = world->file_bytes > number ? world->file_bytes - number : 0;
        } else if (action->if_range == NULL || strcmp(action->if_range, world->etag) == 0) {
            (void)sscanf(action->range, "bytes=%u-", &number);
            at = number;
        }
        if (is_tail || at > 0) {
            head.status = 206;
            head.range_start = at;
            head.range_total = world->file_bytes;
        }
    }
    const bool breaks = world->breaks > 0;
    updraft_received_head(agent, fetch, &head, world->now_ms);
    while (at < world->file_bytes && agent->fetch == fetch && agent->phase == UPDRAFT_FETCHING && !chip->is_dead) {
        const size_t left = world->file_bytes - at;
        const size_t count = left < PIECE_BYTES ? left : PIECE_BYTES;
        if (breaks && sent >= world->break_after) {
            world->breaks--;
            updraft_lost(agent, fetch, "reset", world->now_ms);
            return;
        }
        updraft_received_body(agent, fetch, &world->file[at], count, world->now_ms);
        at += count;
        sent += count;
        world->bytes_sent += count;
    }
    if (!chip->is_dead) {
        updraft_received_end(agent, fetch, world->now_ms);
    }
}

/* Does what the agent asks for; whether it asked for anything. */
static bool obey(struct world *world) {
    struct updraft_action action;
    bool did = false;
    while (!chip->is_dead && !chip->wants_restart && updraft_poll(&world->agent, &action)) {
        did = true;
        switch (action.kind) {
        case UPDRAFT_FETCH:
            serve(world, &action);
            break;
        case UPDRAFT_PUBLISH:
            note(world, &action);
            updraft_acknowledged(&world->agent, action.id, world->now_ms);
            if (strcmp(action.payload, "url_expired") == 0 && !world->denies_fresh_urls) {
                world->url_requests++;
                world_trigger(world);
            }
            break;
        case UPDRAFT_RESTART:
            chip->wants_restart = true;
            break;
        default:
            break;
        }
    }
    return did;
}

void world_run(struct world *world, esp_reset_reason_t reset, uint64_t idle_ms) {
    uint64_t idle_until;
    world->boots++;
    if (!chip_boot(reset)) {
        return;
    }
    const enum behaviour behaviour = world_behaviour();
    if (behaviour == CRASHES_AT_BOOT) {
        return;
    }
    world->now_ms = 0;
    if (updraft_esp_open_port(&world->config, &world->port) != NULL ||
        updraft_begin(&world->agent, &world->config, &world->port, 0) != NULL) {
        return;
    }
    (void)obey(world);
    if (!world->broker_is_away && behaviour != NEVER_ONLINE && behaviour != HANGS && !chip->is_dead && !chip->wants_restart) {
        updraft_connected(&world->agent, world->now_ms);
    }
    if (behaviour == SAYS_NO) {
        updraft_self_test(&world->agent, "the sensor does not answer", world->now_ms);
    }
    idle_until = idle_ms;
    while (world->now_ms < idle_until && !chip->is_dead && !chip->wants_restart && behaviour != HANGS) {
        world->now_ms += STEP_MS;
        updraft_tick(&world->agent, world->now_ms);
        if (obey(world) || world->agent.phase != UPDRAFT_IDLE) {
            idle_until = world->now_ms + idle_ms;
        }
        if (world->agent.phase == UPDRAFT_AWAITING_URL && world->agent.deadline_ms == UPDRAFT_NEVER) {
            return;
        }
    }
}

void world_finish(struct world *world, esp_reset_reason_t reset) {
    for (uint32_t boot = 0; boot < BOOTS_MAX; boot++) {
        world_run(world, reset, 1000);
        if (chip->running == CHIP_NO_SLOT) {
            return;
        }
        if (chip->is_dead) {
            reset = ESP_RST_POWERON;
        } else if (chip->wants_restart) {
            reset = ESP_RST_SW;
        } else if (world_behaviour() == CRASHES_AT_BOOT) {
            reset = ESP_RST_PANIC;
        } else if (world_behaviour() == HANGS) {
            reset = ESP_RST_TASK_WDT;
        } else {
            return;
        }
    }
}

void world_update(struct world *world) {
    world_run(world, ESP_RST_POWERON, 100);
    if (chip->is_dead) {
        world_run(world, ESP_RST_POWERON, 100);
    }
    world_trigger(world);
    for (uint32_t step = 0; step < 200000 && !chip->is_dead && !chip->wants_restart; step++) {
        (void)obey(world);
        if (world->agent.phase == UPDRAFT_IDLE && !chip->is_dead) {
            return;
        }
        world->now_ms += STEP_MS;
        updraft_tick(&world->agent, world->now_ms);
    }
    (void)obey(world);
    const bool was_dead = chip->is_dead;
    world_finish(world, was_dead ? ESP_RST_POWERON : ESP_RST_SW);
}
