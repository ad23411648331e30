/* Stand-in for mqtt_client.h: what the example uses of it, and no more. Source: espressif/esp-mqtt as of ESP-IDF v5.1, include/mqtt_client.h */
#ifndef STAND_IN_MQTT_CLIENT
#define STAND_IN_MQTT_CLIENT

#include <stdbool.h>

#include "esp_event.h"

typedef struct esp_mqtt_client *esp_mqtt_client_handle_t;
typedef enum {
    MQTT_EVENT_ANY = -1,
    MQTT_EVENT_ERROR,
    MQTT_EVENT_CONNECTED,
    MQTT_EVENT_DISCONNECTED,
    MQTT_EVENT_SUBSCRIBED,
    MQTT_EVENT_UNSUBSCRIBED,
    MQTT_EVENT_PUBLISHED,
    MQTT_EVENT_DATA
} esp_mqtt_event_id_t;
typedef struct {
    char *data;
    int data_len;
    int total_data_len;
    char *topic;
    int topic_len;
    int msg_id;
    bool retain;
} esp_mqtt_event_t;
typedef esp_mqtt_event_t *esp_mqtt_event_handle_t;
typedef struct {
    struct {
        struct {
            const char *uri;
        } address;
        struct {
            esp_err_t (*crt_bundle_attach)(void *conf);
        } verification;
    } broker;
    struct {
        const char *username;
        struct {
            const char *password;
        } authentication;
    } credentials;
    struct {
        struct {
            const char *topic;
            const char *msg;
            int qos;
            int retain;
        } last_will;
    } session;
    struct {
        int size;
    } buffer;
} esp_mqtt_client_config_t;

esp_mqtt_client_handle_t esp_mqtt_client_init(const esp_mqtt_client_config_t *config);
esp_err_t esp_mqtt_client_register_event(esp_mqtt_client_handle_t client, esp_mqtt_event_id_t event,
                                         esp_event_handler_t event_handler, void *event_handler_arg);
esp_err_t esp_mqtt_client_start(esp_mqtt_client_handle_t client);
int esp_mqtt_client_subscribe(esp_mqtt_client_handle_t client, const char *topic, int qos);
int esp_mqtt_client_publish(esp_mqtt_client_handle_t client, const char *topic, const char *data, int len, int qos, int retain);

#endif
