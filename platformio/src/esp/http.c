/* One fetch at a time, by esp_http_client, a piece with each call: MQTT is served meanwhile. */
#ifdef ESP_PLATFORM

#include <esp_http_client.h>
#include <esp_idf_version.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "parts.h"

/* For connecting, and for each read; shorter than the shortest usual keep-alive of MQTT. */
#define TIMEOUT_MS 5000
/* A presigned URL is sent in one piece; ESP-IDF's own buffer of 512 bytes does not hold one. */
#define SEND_BYTES 3072
#define RECEIVE_BYTES 1460

/* What of a response's head matters; filled by the client's events. */
struct heads {
    struct updraft_head head;
    char etag[UPDRAFT_ETAG_BYTES + 1];
    char version[UPDRAFT_VERSION_BYTES + 1];
    char location[UPDRAFT_URL_BYTES + 1];
};

static esp_http_client_handle_t client;
static uint32_t fetch;
static struct heads heads;

/* `bytes 100-199/1000`, `bytes 100-199/(star)` */
static void read_range(struct updraft_head *head, const char *value) {
    char *end = NULL;
    if (strncasecmp(value, "bytes ", 6) != 0) {
        return;
    }
    const uint64_t start = strtoull(&value[6], &end, 10);
    const char *const slash = strchr(value, '/');
    if (end == &value[6] || *end != '-' || slash == NULL) {
        return;
    }
    head->range_start = start;
    head->range_total = slash[1] == '*' ? UPDRAFT_NEVER : strtoull(&slash[1], NULL, 10);
}

static esp_err_t on_event(esp_http_client_event_t *event) {
    if (event->event_id != HTTP_EVENT_ON_HEADER) {
        return ESP_OK;
    }
    const char *const key = event->header_key;
    const char *const value = event->header_value;
    if (strcasecmp(key, "ETag") == 0) {
        heads.head.etag = updraft_text_copy(heads.etag, sizeof heads.etag, value) ? heads.etag : NULL;
    } else if (strcasecmp(key, "Updraft-Version") == 0) {
        heads.head.version = updraft_text_copy(heads.version, sizeof heads.version, value) ? heads.version : NULL;
    } else if (strcasecmp(key, "Location") == 0) {
        heads.head.location = updraft_text_copy(heads.location, sizeof heads.location, value) ? heads.location : "";
    } else if (strcasecmp(key, "Content-Range") == 0) {
        read_range(&heads.head, value);
    } else if (strcasecmp(key, "Content-Encoding") == 0) {
        heads.head.is_encoded = strcasecmp(value, "identity") != 0;
    }
    return ESP_OK;
}

void updraft_esp_end_fetch(void) {
    if (client != NULL) {
        (void)esp_http_client_close(client);
        (void)esp_http_client_cleanup(client);
        client = NULL;
    }
}

bool updraft_esp_is_fetching(void) { return client != NULL; }

static void lose(struct updraft *agent, const char *why) {
    updraft_esp_end_fetch();
    updraft_lost(agent, fetch, why, updraft_esp_now_ms());
}

static bool open_client(const struct updraft_esp_config *config, const struct updraft_action *action) {
    esp_http_client_config_t settings;
    memset(&settings, 0, sizeof settings);
    settings.url = action->url;
    settings.timeout_ms = TIMEOUT_MS;
    settings.disable_auto_redirect = true;
    settings.event_handler = on_event;
    settings.buffer_size = RECEIVE_BYTES;
    settings.buffer_size_tx = SEND_BYTES;
    settings.cert_pem = config->root_ca;
    if (config->root_ca == NULL) {
        settings.crt_bundle_attach = config->crt_bundle_attach;
    }
    client = esp_http_client_init(&settings);
    return client != NULL && esp_http_client_set_header(client, "Range", action->range) == ESP_OK &&
           (action->if_range == NULL || esp_http_client_set_header(client, "If-Range", action->if_range) == ESP_OK) &&
           esp_http_client_set_header(client, "Accept-Encoding", "identity") == ESP_OK &&
           esp_http_client_open(client, 0) == ESP_OK;
}

void updraft_esp_fetch(struct updraft *agent, const struct updraft_esp_config *config, const struct updraft_action *action) {
    updraft_esp_end_fetch();
    fetch = action->id;
    if (strncasecmp(action->url, "https:", 6) == 0 && config->root_ca == NULL && config->crt_bundle_attach == NULL) {
        lose(agent, "this firmware has no root certificate for https");
        return;
    }
    memset(&heads, 0, sizeof heads);
    heads.head.range_start = UPDRAFT_NEVER;
    heads.head.range_total = UPDRAFT_NEVER;
    heads.head.content_length = UPDRAFT_NEVER;
    if (!open_client(config, action)) {
        lose(agent, "no connection");
        return;
    }
    const int64_t length = esp_http_client_fetch_headers(client);
    if (length < 0) {
        lose(agent, "no response");
        return;
    }
    if (!esp_http_client_is_chunked_response(client)) {
        heads.head.content_length = (uint64_t)length;
    }
    heads.head.status = (uint32_t)esp_http_client_get_status_code(client);
    updraft_received_head(agent, fetch, &heads.head, updraft_esp_now_ms());
}

void updraft_esp_fetch_on(struct updraft *agent) {
    static uint8_t bytes[RECEIVE_BYTES];
    const int count = esp_http_client_read(client, (char *)bytes, (int)sizeof bytes);
    if (count > 0) {
        updraft_received_body(agent, fetch, bytes, (size_t)count, updraft_esp_now_ms());
    } else if (esp_http_client_is_complete_data_received(client)) {
        updraft_esp_end_fetch();
        updraft_received_end(agent, fetch, updraft_esp_now_ms());
#ifdef ESP_ERR_HTTP_EAGAIN
    } else if (count == -ESP_ERR_HTTP_EAGAIN) {
        /* Nothing came for a while; how long that may last is the agent's to say. */
#endif
    } else if (count < 0) {
        lose(agent, "the connection broke");
    }
}

#endif
