/* What the files of the ESP face have in common. */
#ifndef UPDRAFT_ESP_PARTS_H
#define UPDRAFT_ESP_PARTS_H

#include "../updraft_esp.h"

/* Fills in what the chip is, and makes the port. NULL, or what the device lacks. */
const char *updraft_esp_open_port(struct updraft_config *config, struct updraft_port *port);

/* Whether the signature is one of the digest, by mbedtls. */
bool updraft_esp_verify(void *context, const struct updraft_signature *signature);

/* Begins, goes on with, and ends the one fetch there is. */
void updraft_esp_fetch(struct updraft *agent, const struct updraft_esp_config *config, const struct updraft_action *action);
void updraft_esp_fetch_on(struct updraft *agent);
void updraft_esp_end_fetch(void);
bool updraft_esp_is_fetching(void);

/* Milliseconds since the start. */
uint64_t updraft_esp_now_ms(void);

#endif
