// The smallest sketch that is updated safely. An existing project with PubSubClient needs the five lines marked with <-.
#include <PubSubClient.h>
#include <Updraft.h> // <-
#include <WiFi.h>

static WiFiClient connection;
static PubSubClient mqtt(connection);

static void onMessage(char *topic, uint8_t *payload, unsigned int length) {
    if (Updraft.message(topic, payload, length)) return; // <-
    // what the project does with its own messages
}

void setup() {
    Updraft.begin(DEVICE_ID, FIRMWARE_VERSION, mqtt); // <-
    WiFi.begin(WIFI_NETWORK, WIFI_PASSWORD);
    mqtt.setServer(BROKER, 1883);
    mqtt.setCallback(onMessage);
}

void loop() {
    if (!mqtt.loop() && WiFi.status() == WL_CONNECTED && mqtt.connect(DEVICE_ID, DEVICE_ID, DEVICE_PASSWORD)) {
        Updraft.connected(); // <-
    }
    Updraft.loop(); // <-
    delay(10);
}
