/* A device in its world: images, a server, a broker, and one boot after another. */
#ifndef WORLD_H
#define WORLD_H

#include "chip.h"
#include "updraft/agent.h"

#define FILE_BYTES (CHIP_SLOT_BYTES + 8192U)

/* How an image behaves once it runs; it lies in the image's last byte of data. */
enum behaviour { HEALTHY, CRASHES_AT_BOOT, NEVER_ONLINE, HANGS, SAYS_NO };

struct image_options {
    const char *version;
    const char *project;
    uint16_t chip;
    uint8_t flash_mode;
    uint32_t secure_version;
    uint32_t data_bytes;
    enum behaviour behaviour;
    bool has_no_digest;
};

/* A good image of so many bytes of data. */
struct image_options image_options(const char *version, uint32_t data_bytes);
/* Builds an image; its length. */
size_t image_build(const struct image_options *options, uint8_t *out);
/* Signs as espsecure does, with a key that is a number; its length. */
size_t image_sign(uint8_t *image, size_t image_bytes, const uint8_t *keys, size_t key_count);
/* The digest of such a key. */
void key_digest(uint8_t key, uint8_t digest[UPDRAFT_SHA256_BYTES]);

struct world {
    uint8_t file[FILE_BYTES];
    size_t file_bytes;
    const char *etag;
    /* What the server does instead of answering: a status, for so many requests. */
    uint32_t status;
    uint32_t status_count;
    /* Breaks so many connections, each after so many bytes. */
    uint32_t breaks;
    uint32_t break_after;
    bool ignores_ranges;
    /* Answers nothing at all. */
    bool is_silent;
    bool broker_is_away;
    bool denies_fresh_urls;
    uint32_t requests;
    uint64_t bytes_sent;
    uint32_t url_requests;
    const char *url;
    struct updraft_config config;
    struct updraft agent;
    struct updraft_port port;
    uint64_t now_ms;
    uint32_t boots;
    /* What was published, one message a line. */
    char log[65536];
    size_t log_bytes;
    char last_status[256];
    char last_report[UPDRAFT_PAYLOAD_BYTES];
};

/* A device that runs version 1.0.0, and a server that has `options`. */
void world_make(struct world *world, const struct image_options *options, bool has_rollback);
/* Boots and runs until nothing happens for `idle_ms`, the power is cut or it asks for a restart. */
void world_run(struct world *world, esp_reset_reason_t reset, uint64_t idle_ms);
/* The broker delivers a message. */
void world_trigger(struct world *world);
/* Runs on, boot after boot, until it is idle; a hang ends by watchdog, a crash by panic. */
void world_finish(struct world *world, esp_reset_reason_t reset);
/* The whole of an update from power-on. */
void world_update(struct world *world);
/* Whether a line was published. */
bool world_said(const struct world *world, const char *part);
enum behaviour world_behaviour(void);

#endif
