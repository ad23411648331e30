/* The update agent: what a device does with an update, from the trigger to the outcome. Portable C99, no allocation, no clock,
 * no socket: what happened goes in by calls, what to do comes out of updraft_poll. Flash and otadata are the port's.
 *
 * Phases: idle, downloading, verifying, selected (NEW), restart, trial (PENDING_VERIFY), confirmed (VALID) or rolled back. The
 * phase in memory is a view; updraft_begin derives it again from flash. docs/firmware.md is what goes over the wire. */
#ifndef UPDRAFT_AGENT_H
#define UPDRAFT_AGENT_H

#include "image.h"
#include "record.h"
#include "signature.h"
#include "url.h"

/* The end of a file that is asked for first: a signature sector, or the digest before where one would be. */
#define UPDRAFT_TAIL_BYTES (UPDRAFT_SECTOR_BYTES + 32U)
#define UPDRAFT_DEVICE_ID_BYTES 64U
#define UPDRAFT_TOPIC_BYTES 96U
#define UPDRAFT_PAYLOAD_BYTES 1280U
#define UPDRAFT_NEVER UINT64_MAX

/* As esp_ota_img_states_t has them, and as the report spells them. */
enum updraft_state {
    UPDRAFT_STATE_NEW,
    UPDRAFT_STATE_PENDING_VERIFY,
    UPDRAFT_STATE_VALID,
    UPDRAFT_STATE_INVALID,
    UPDRAFT_STATE_ABORTED,
    UPDRAFT_STATE_UNDEFINED
};

enum updraft_reset {
    UPDRAFT_RESET_UNKNOWN,
    /* Power came on; also a cut, or a person who unplugged a device that hung. */
    UPDRAFT_RESET_POWER_ON,
    UPDRAFT_RESET_SOFTWARE,
    UPDRAFT_RESET_PANIC,
    UPDRAFT_RESET_WATCHDOG,
    UPDRAFT_RESET_BROWN_OUT,
    UPDRAFT_RESET_DEEP_SLEEP
};

enum updraft_slot {
    /* The one that runs; never written. */
    UPDRAFT_RUNNING,
    /* The one that the next image goes to. */
    UPDRAFT_TARGET
};

/* The device. Functions that return bool say whether it worked; after a false anything may be on flash, as after a cut. */
struct updraft_port {
    void *context;
    bool (*read)(void *context, enum updraft_slot slot, uint32_t offset, uint8_t *bytes, uint32_t count);
    /* Erases and writes one sector of the target. */
    bool (*erase)(void *context, uint32_t offset);
    bool (*write)(void *context, uint32_t offset, const uint8_t sector[UPDRAFT_SECTOR_BYTES]);
    /* What otadata says of a slot; UNDEFINED if nothing. */
    enum updraft_state (*state)(void *context, enum updraft_slot slot);
    /* Whether otadata has an entry that selects what runs. Fresh from the factory it has none, and after a bootloader found the
     * selected slot corrupt it selects another. */
    bool (*runs_selected)(void *context);
    /* Makes otadata select what runs, as VALID. A cut leaves what runs selected, or the other slot with its image whole. */
    bool (*confirm)(void *context);
    /* Makes otadata select the target, as NEW, in one write; what names the running slot stays. */
    bool (*select)(void *context);
    /* Whether another image can take over; and makes otadata give up what runs, as INVALID. */
    bool (*can_leave)(void *context);
    bool (*leave)(void *context);
    /* Reads the record that was saved last, zeros if none ever was; false: there is no place for one. */
    bool (*load)(void *context, uint8_t record[UPDRAFT_RECORD_BYTES]);
    /* Saves a record so that a cut at any moment leaves this one or the one before. */
    bool (*save)(void *context, const uint8_t record[UPDRAFT_RECORD_BYTES]);
    /* NULL refuses every update where keys are trusted. */
    updraft_verify verify;
};

struct updraft_config {
    /* `[A-Za-z0-9][A-Za-z0-9._:-]{0,63}` */
    const char *device_id;
    /* What the device says it is; NULL if it does not say. */
    const char *product;
    /* What the running image was built as; NULL: what its descriptor says, if that is the application's own. */
    const char *version;
    /* SHA-256 digests of the keys that count, compiled in; with none unsigned images are taken, and every report says so. */
    const uint8_t (*trusted_keys)[UPDRAFT_SHA256_BYTES];
    uint32_t trusted_key_count;
    /* How many of them must have signed an image; 0 is 1. */
    uint32_t signatures_required;
    /* Whether a new image is confirmed only once the application said that it is well, besides having reached the broker. */
    bool waits_for_application;
    /* Whether `online` is published at each connect, because the client has a last will that says `offline`. */
    bool says_online;
    /* Asked when an update is about to begin: for how many seconds not (battery, in use, no consent), and why, at most
     * UPDRAFT_REASON_BYTES; 0: now is fine. NULL: always. */
    uint32_t (*not_now)(void *context, char *why, size_t why_bytes);
    /* Told how far an update is: `download`, `verify` or `restart`. May be NULL. */
    void (*progress)(void *context, const char *phase, uint32_t done, uint32_t total);
    void *context;

    /* What the chip is; filled in by the faces. */
    uint16_t chip;
    /* Major × 100 + minor. */
    uint16_t chip_revision;
    /* Of the eFuses, where anti-rollback is on. */
    uint32_t secure_version;
    enum updraft_reset reset;
    /* `ota_0` */
    const char *slot;
    uint32_t running_bytes;
    uint32_t target_bytes;

    /* How long a new image has to confirm itself. */
    uint32_t trial_ms;
    /* How long a connection may be silent. One that brings less than 4 KiB in four times as long counts as lost too. */
    uint32_t stall_ms;
    /* The first pause before a download goes on; it doubles each time, up to a minute, and up to a quarter of this is added. */
    uint32_t back_off_ms;
    /* A download goes on at most so often after a lost connection; 64 KiB never received before make up for one. */
    uint32_t retries;
    uint32_t url_wait_ms;
    uint32_t url_requests;
    /* How long a restart waits for the last message to be acknowledged. */
    uint32_t last_message_ms;
};

enum updraft_phase {
    UPDRAFT_IDLE,
    UPDRAFT_TRIAL,
    UPDRAFT_FETCHING,
    /* The connection was lost; the download goes on later. */
    UPDRAFT_PAUSING,
    UPDRAFT_AWAITING_URL,
    /* What an interrupted download left in the slot is hashed again. */
    UPDRAFT_RESUMING,
    UPDRAFT_VERIFYING,
    /* The new image is selected; the last message is on its way. */
    UPDRAFT_WAITING_FOR_RESTART,
    UPDRAFT_RESTARTING
};

/* The head of an HTTP response; numbers that it did not have are UPDRAFT_NEVER, texts NULL. */
struct updraft_head {
    uint32_t status;
    uint64_t content_length;
    /* Of a 206's Content-Range. */
    uint64_t range_start;
    uint64_t range_total;
    const char *etag;
    /* `Updraft-Version` */
    const char *version;
    const char *location;
    /* Whether there is a Content-Encoding other than `identity`. */
    bool is_encoded;
};

enum updraft_action_kind {
    /* Send a GET for a part of `url`, with If-Range if there is a tag, after ending any other. Not following redirects. */
    UPDRAFT_FETCH,
    /* End the fetch. */
    UPDRAFT_CANCEL,
    /* Publish with QoS 1 where the client can. */
    UPDRAFT_PUBLISH,
    UPDRAFT_RESTART
};

struct updraft_action {
    enum updraft_action_kind kind;
    /* To be given back with whatever comes of it. */
    uint32_t id;
    /* A secret. */
    const char *url;
    /* `bytes=12345-` or `bytes=-4128` */
    const char *range;
    const char *if_range;
    const char *topic;
    const char *payload;
    bool is_retained;
};

/* The image that runs, as far as it could be read. */
struct updraft_running {
    bool is_known;
    bool is_protected;
    uint32_t total_bytes;
    uint8_t sha256[UPDRAFT_SHA256_BYTES];
    struct updraft_traits traits;
};

/* An attempt's memory, from its trigger to its outcome. */
struct updraft_download {
    char url[UPDRAFT_URL_BYTES + 1];
    uint32_t path_tag;
    /* The version that the trigger's path names. */
    char named[UPDRAFT_VERSION_BYTES + 1];
    char to[UPDRAFT_VERSION_BYTES + 1];
    uint32_t redirects;
    uint32_t retries;
    uint32_t url_requests;
    /* Whether the device restarted during the download, so that the URL is gone. */
    bool is_interrupted;
    /* Whether record and otadata are such that the slot may be erased. */
    bool is_ready;
    /* Whether the file's end is asked for, before all of it. */
    bool wants_tail;
    enum updraft_known tail_is_signed;
    /* Whether the record's mark may still be gone on from. */
    bool may_resume;
    struct updraft_file file;
    /* Where the next fetch begins. */
    uint32_t received;
    /* Bytes of a whole file that are known already. */
    uint32_t skip;
    uint32_t tail_bytes;
    uint32_t furthest;
    uint32_t pace_bytes;
    uint64_t pace_end_ms;
    /* Bytes on flash, and those of the sector that was begun. */
    uint32_t written;
    uint32_t filled;
    struct updraft_sha256 hash;
    struct updraft_sha256 read_back;
    uint8_t buffer[UPDRAFT_TAIL_BYTES];
};

/* What waits to be published; each is made when it is sent. */
struct updraft_outbox {
    uint32_t last_id;
    bool online;
    bool report;
    bool status;
    bool request;
    bool deferral;
    bool progress;
    const char *progress_phase;
    uint32_t progress_done;
    uint32_t progress_total;
    uint64_t progress_at_ms;
    /* The outcome that no broker acknowledged yet. */
    enum updraft_outcome result;
    char reason[UPDRAFT_REASON_BYTES + 1];
    uint32_t status_id;
    uint32_t restart_id;
    uint32_t deferral_s;
    char deferral_reason[UPDRAFT_REASON_BYTES + 1];
};

/* The agent on one device. About 10 KB: it belongs into a static variable. Its fields are its own. */
struct updraft {
    struct updraft_config config;
    const struct updraft_port *port;
    enum updraft_phase phase;
    uint64_t now_ms;
    uint64_t deadline_ms;
    bool is_connected;
    bool is_kept;
    bool is_well;
    bool is_triggered;
    bool is_forced;
    bool cancel_due;
    bool has_begun;
    uint32_t fetch;
    uint32_t fetch_announced;
    /* The failure of an image that is counted once the broker was reached: while it cannot be, an outage may be to blame. */
    bool has_blamed;
    uint8_t blamed[UPDRAFT_SHA256_BYTES];
    enum updraft_state running_state;
    struct updraft_running running;
    struct updraft_record record;
    struct updraft_download download;
    struct updraft_verifier verifier;
    struct updraft_outbox outbox;
    uint8_t record_bytes[UPDRAFT_RECORD_BYTES];
    char topic[UPDRAFT_TOPIC_BYTES];
    char payload[UPDRAFT_PAYLOAD_BYTES];
    char range[24];
};

#ifdef __cplusplus
extern "C" {
#endif

/* What suits a device in the field; the rest is zero. */
struct updraft_config updraft_defaults(void);
/* Starts the agent, before the application does anything that could crash or wait. NULL, or why it cannot work here; then it
 * does nothing. Config and port must stay. */
const char *updraft_begin(struct updraft *agent, const struct updraft_config *config, const struct updraft_port *port,
                          uint64_t now_ms);

/* The topics to subscribe to with QoS 1, `devices/{id}/ota` and `devices/{id}/ota/control`; and that of the last will. */
void updraft_topic(const struct updraft *agent, const char *end, char topic[UPDRAFT_TOPIC_BYTES]);

/* The broker accepted the connection and the subscriptions were sent. */
void updraft_connected(struct updraft *agent, uint64_t now_ms);
void updraft_disconnected(struct updraft *agent);
/* Any message from the broker; whether it was one for the agent. */
bool updraft_message(struct updraft *agent, const char *topic, const uint8_t *payload, size_t payload_bytes, bool is_retained,
                     uint64_t now_ms);
/* The broker has a message; with QoS 0: it was sent. */
void updraft_acknowledged(struct updraft *agent, uint32_t id, uint64_t now_ms);
/* How the application is: NULL for well, else why not. */
void updraft_self_test(struct updraft *agent, const char *why_not, uint64_t now_ms);

/* What came of a fetch; of an earlier one it is ignored. */
void updraft_received_head(struct updraft *agent, uint32_t fetch, const struct updraft_head *head, uint64_t now_ms);
void updraft_received_body(struct updraft *agent, uint32_t fetch, const uint8_t *bytes, size_t count, uint64_t now_ms);
void updraft_received_end(struct updraft *agent, uint32_t fetch, uint64_t now_ms);
/* There was no response or it broke; in words, without the URL. */
void updraft_lost(struct updraft *agent, uint32_t fetch, const char *why, uint64_t now_ms);

/* Nothing but time; to be called often, at most a few hundred milliseconds apart. */
void updraft_tick(struct updraft *agent, uint64_t now_ms);
/* What to do next; false: nothing. Texts are good until the next call of any function. */
bool updraft_poll(struct updraft *agent, struct updraft_action *action);

/* The version that runs: as the image says, else as configured, else as the server named it; NULL: not known. */
const char *updraft_running_version(const struct updraft *agent);
/* Whether the device may sleep now. Never during a trial: waking is a boot, which ends it. */
bool updraft_may_sleep(const struct updraft *agent);

#ifdef __cplusplus
}
#endif

#endif
