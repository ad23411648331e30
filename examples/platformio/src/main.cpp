// A whole firmware for an ESP32-S3: Wi-Fi and broker asked for once on the serial line, TLS on both connections, a self-test, and
// updates that wait while the lamp is in use.
#include <Arduino.h>
#include <Preferences.h>
#include <PubSubClient.h>
#include <Updraft.h>
#include <WiFi.h>
#include <WiFiClientSecure.h>

#ifndef FIRMWARE_VERSION
#error "set FIRMWARE_VERSION, such as 0.1.0"
#endif

// The root certificates (PEM) of the broker and of who answers the URLs: your server, or Amazon for a bucket of S3. While one is
// empty, its connection is not encrypted, and https is refused.
static const char BROKER_CA[] = "";
static const char SERVER_CA[] = "";
static const uint32_t RETRY_MS = 5000;

static Preferences settings;
static WiFiClient plain;
static WiFiClientSecure secure;
static PubSubClient mqtt(BROKER_CA[0] == '\0' ? static_cast<Client &>(plain) : static_cast<Client &>(secure));
static String id, network, wifi, broker, password, line;
static uint32_t tried_at;
static bool is_lit;

struct Question {
    const char *key, *words;
    String *answer;
};
static Question questions[] = {{"id", "Device id", &id},
                               {"ssid", "Wi-Fi network", &network},
                               {"wifi", "Wi-Fi password", &wifi},
                               {"broker", "Broker's address", &broker},
                               {"password", "Broker's password", &password}};

// Asks for the first thing that is missing, a letter at a time: nothing here waits for a person. Whether all is known.
static bool isSetUp() {
    for (Question &question : questions) {
        if (!question.answer->isEmpty()) continue;
        while (Serial.available() > 0) {
            const char letter = static_cast<char>(Serial.read());
            if (letter != '\n' && letter != '\r') {
                line += letter;
            } else if (!line.isEmpty()) {
                *question.answer = line;
                settings.putString(question.key, line);
                line = "";
                if (question.answer == &password) ESP.restart();
                return false;
            }
        }
        if (millis() - tried_at > RETRY_MS) {
            tried_at = millis();
            Serial.printf("%s? ", question.words);
        }
        return false;
    }
    return true;
}

static void onMessage(char *topic, uint8_t *payload, unsigned int length) {
    if (Updraft.message(topic, payload, length)) return;
    is_lit = length == 2 && memcmp(payload, "on", 2) == 0;
}

// An update restarts the lamp: not while somebody needs its light.
static uint32_t notNow(void *, char *why, size_t why_bytes) {
    if (!is_lit) return 0;
    strlcpy(why, "the lamp is lit", why_bytes);
    return 600;
}

static void connect() {
    if (WiFi.status() != WL_CONNECTED || millis() - tried_at < RETRY_MS) return;
    tried_at = millis();
    if (mqtt.connect(id.c_str(), id.c_str(), password.c_str(), Updraft.presenceTopic(), 1, true, "offline")) {
        Updraft.connected();
        mqtt.subscribe(("lamps/" + id).c_str(), 1);
    }
}

void setup() {
    settings.begin("lamp");
    for (Question &question : questions) *question.answer = settings.getString(question.key, "");
    Updraft.config.agent.product = "lamp";
    Updraft.config.agent.not_now = notNow;
    Updraft.config.agent.waits_for_application = true;
    Updraft.config.agent.says_online = true;
    Updraft.config.root_ca = SERVER_CA[0] == '\0' ? nullptr : SERVER_CA;
    // Without an id, too: a new image that cannot read its settings is to be left.
    const char *why = Updraft.begin(id.isEmpty() ? "not-set-up" : id.c_str(), FIRMWARE_VERSION, mqtt);
    // From here on a new image that does not come through is left.
    Serial.begin(115200);
    if (why != nullptr) Serial.printf("no updates: %s\n", why);
    pinMode(LED_BUILTIN, OUTPUT);
    secure.setCACert(BROKER_CA);
    mqtt.setServer(broker.c_str(), BROKER_CA[0] == '\0' ? 1883 : 8883);
    mqtt.setCallback(onMessage);
    if (!network.isEmpty()) WiFi.begin(network.c_str(), wifi.c_str());
}

void loop() {
    digitalWrite(LED_BUILTIN, is_lit ? HIGH : LOW);
    // The self-test: what a new image must be able to do before it is kept.
    if (!id.isEmpty() && settings.getString("id", "") == id) {
        Updraft.isWell();
    } else {
        Updraft.isNotWell("the settings cannot be read");
    }
    if (isSetUp() && !mqtt.loop()) connect();
    Updraft.loop();
    delay(10);
}
