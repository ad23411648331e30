/* The agent on an ESP32, for ESP-IDF 4.4 (Arduino 2.x of PlatformIO) and 5.1 or newer: flash by esp_ota_ops, the record in NVS,
 * HTTP by esp_http_client, signatures by mbedtls. MQTT is the application's own client: it hands messages in, and gets messages
 * to publish. One agent a device.
 *
 * updraft_esp_loop does all the work and must always be called by the same task; whatever else is here may be called by any. */
#ifndef UPDRAFT_ESP_H
#define UPDRAFT_ESP_H

#include <esp_err.h>

#include "updraft/agent.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Publishes a message, with QoS 1 if the client can. Negative: it was not sent; 0: it was, and nobody will acknowledge it; else
 * the id that updraft_esp_published will be called with. */
typedef int (*updraft_esp_publish)(void *context, const char *topic, const char *payload, bool is_retained);

struct updraft_esp_config {
    /* From updraft_defaults; what the chip is, is filled in. */
    struct updraft_config agent;
    updraft_esp_publish publish;
    void *publish_context;
    /* The root certificate (PEM) of who answers the URLs. NULL: see below. */
    const char *root_ca;
    /* esp_crt_bundle_attach, for any public server. NULL, and no root certificate: https is refused, since a connection that is
     * not verified protects nothing. */
    esp_err_t (*crt_bundle_attach)(void *config);
};

/* Call it first in setup() or app_main(), before anything that waits for a person, a serial port or a network. NULL, or why
 * there will be no updates. */
const char *updraft_esp_begin(const struct updraft_esp_config *config);
/* To be called over and over; takes up to a few seconds while a server is silent, else milliseconds. */
void updraft_esp_loop(void);
/* Calls the loop in a task of its own from now on. Not with PubSubClient, which only one task may use. */
bool updraft_esp_start_task(void);

/* The client is connected and has subscribed to both topics with QoS 1; and it is not any more. */
void updraft_esp_connected(void);
void updraft_esp_disconnected(void);
/* Any message; whether it was one for the agent. */
bool updraft_esp_message(const char *topic, const void *payload, size_t payload_bytes, bool is_retained);
void updraft_esp_published(int id);
/* How the application is: NULL for well, else why not. */
void updraft_esp_self_test(const char *why_not);

/* `devices/{id}/ota`, `devices/{id}/ota/control`, `devices/{id}/presence`; good until the program ends. Before
 * updraft_esp_begin has succeeded the first two are empty: subscribe to neither; the last is NULL, which is no last will. */
const char *updraft_esp_trigger_topic(void);
const char *updraft_esp_control_topic(void);
const char *updraft_esp_presence_topic(void);
/* Whether an update, a trial or a message is under way: not the time for deep sleep. */
bool updraft_esp_is_busy(void);

#ifdef __cplusplus
}
#endif

#endif
