/* The same with ESP-IDF: esp_mqtt, messages with QoS 1, updates in a task of their own. Wi-Fi, device and broker are set below or
 * by -D; a product keeps them in NVS. */
#include <esp_crt_bundle.h>
#include <esp_event.h>
#include <esp_netif.h>
#include <esp_wifi.h>
#include <mqtt_client.h>
#include <nvs_flash.h>
#include <stdio.h>
#include <string.h>
#include <updraft_esp.h>

#ifndef DEVICE_ID
#define DEVICE_ID "lamp-1"
#define DEVICE_PASSWORD "the one that updraft device add printed"
#define BROKER "mqtts://updates.example.com"
#define WIFI_NETWORK "network"
#define WIFI_PASSWORD "password"
#endif

static esp_mqtt_client_handle_t mqtt;

static int publish(void *context, const char *topic, const char *payload, bool is_retained) {
    (void)context;
    return esp_mqtt_client_publish(mqtt, topic, payload, 0, 1, is_retained);
}

static void on_mqtt(void *context, esp_event_base_t base, int32_t id, void *data) {
    const esp_mqtt_event_handle_t event = data;
    char topic[UPDRAFT_TOPIC_BYTES] = {0};
    (void)context;
    (void)base;
    switch ((esp_mqtt_event_id_t)id) {
    case MQTT_EVENT_CONNECTED:
        if (updraft_esp_trigger_topic()[0] != '\0') {
            (void)esp_mqtt_client_subscribe(mqtt, updraft_esp_trigger_topic(), 1);
            (void)esp_mqtt_client_subscribe(mqtt, updraft_esp_control_topic(), 1);
        }
        updraft_esp_connected();
        break;
    case MQTT_EVENT_DISCONNECTED:
        updraft_esp_disconnected();
        break;
    case MQTT_EVENT_PUBLISHED:
        updraft_esp_published(event->msg_id);
        break;
    case MQTT_EVENT_DATA:
        /* Whole messages alone: the buffer below holds the longest. */
        if (event->data_len == event->total_data_len && event->topic_len < (int)sizeof topic) {
            memcpy(topic, event->topic, (size_t)event->topic_len);
            (void)updraft_esp_message(topic, event->data, (size_t)event->data_len, event->retain);
        }
        break;
    default:
        break;
    }
}

static void on_wifi(void *context, esp_event_base_t base, int32_t id, void *data) {
    (void)context;
    (void)base;
    (void)data;
    if (id == WIFI_EVENT_STA_START || id == WIFI_EVENT_STA_DISCONNECTED) {
        (void)esp_wifi_connect();
    }
}

static void start_wifi(void) {
    const wifi_init_config_t init = WIFI_INIT_CONFIG_DEFAULT();
    wifi_config_t wifi = {.sta = {.ssid = WIFI_NETWORK, .password = WIFI_PASSWORD}};
    (void)esp_netif_init();
    (void)esp_event_loop_create_default();
    (void)esp_netif_create_default_wifi_sta();
    (void)esp_wifi_init(&init);
    (void)esp_event_handler_register(WIFI_EVENT, ESP_EVENT_ANY_ID, on_wifi, NULL);
    (void)esp_wifi_set_mode(WIFI_MODE_STA);
    (void)esp_wifi_set_config(WIFI_IF_STA, &wifi);
    (void)esp_wifi_start();
}

static void start_mqtt(void) {
    const esp_mqtt_client_config_t config = {
        .broker = {.address.uri = BROKER, .verification.crt_bundle_attach = esp_crt_bundle_attach},
        .credentials = {.username = DEVICE_ID, .authentication.password = DEVICE_PASSWORD},
        .session.last_will = {.topic = updraft_esp_presence_topic(), .msg = "offline", .qos = 1, .retain = true},
        .buffer.size = 2560,
    };
    mqtt = esp_mqtt_client_init(&config);
    (void)esp_mqtt_client_register_event(mqtt, ESP_EVENT_ANY_ID, on_mqtt, NULL);
    (void)esp_mqtt_client_start(mqtt);
}

void app_main(void) {
    (void)nvs_flash_init();
    struct updraft_esp_config config = {.agent = updraft_defaults(), .publish = publish, .crt_bundle_attach = esp_crt_bundle_attach};
    config.agent.device_id = DEVICE_ID;
    config.agent.product = "lamp";
    config.agent.says_online = true;
    const char *const why = updraft_esp_begin(&config);
    if (why != NULL) {
        printf("no updates: %s\n", why);
    }
    start_wifi();
    start_mqtt();
    (void)updraft_esp_start_task();
}
