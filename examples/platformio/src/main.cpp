// A plain device, as docs/firmware.md of Updraft describes it: it says its version, takes a URL, writes what lies there into
// the other slot, and confirms the new image once that has reached the broker.
#include <Arduino.h>
#include <HTTPUpdate.h>
#include <Preferences.h>
#include <PubSubClient.h>
#include <WiFi.h>
#include <WiFiClientSecure.h>
#include <esp_ota_ops.h>

static const char VERSION[] = FIRMWARE_VERSION;
static_assert(sizeof(VERSION) > 5, "set FIRMWARE_VERSION, such as 0.1.0");

// The root certificate (PEM) of who answers the URLs: your server's, or Amazon's for a bucket of S3. As long as it is empty,
// only http:// is followed; a certificate that nobody checks protects nothing.
static const char ROOT_CA[] = "";

// A new image that does not reach the broker in this time is given up.
static const uint32_t TRIAL_MS = 5 * 60 * 1000;
// A presigned URL of S3 is long.
static const uint16_t MESSAGE_MAX_BYTES = 2048;

static Preferences settings;
static WiFiClient socket_;
static PubSubClient mqtt(socket_);
static String id, url;

// Asked once on the serial port, then kept in flash: an image is for all devices, and a password is one device's.
static String ask(const char *key, const char *question) {
    String value = settings.getString(key);
    while (value.isEmpty()) {
        Serial.printf("%s? ", question);
        value = Serial.readStringUntil('\n');
        value.trim();
    }
    settings.putString(key, value);
    return value;
}

static String topic(const char *end) { return "devices/" + id + "/" + end; }

static void say(const char *end, const String &text) { mqtt.publish(topic(end).c_str(), text.c_str()); }

// The download does not belong here: the client is in the middle of a packet.
static void on_message(char *, uint8_t *payload, unsigned int length) { url = String((const char *)payload, length); }

// How the last update ended, once the broker can hear it. Which slot runs says it, whatever happened in between.
static void tell_the_end() {
    String chosen = settings.getString("chosen");
    if (chosen.isEmpty()) return;
    const esp_partition_t *running = esp_ota_get_running_partition();
    if (chosen == running->label) {
        // Until now the bootloader would have gone back at the next restart.
        esp_ota_mark_app_valid_cancel_rollback();
        say("ota/status", "SUCCESS");
    } else {
        say("ota/status", "FAILED the new image did not stay, and the old one runs again");
    }
    settings.remove("chosen");
}

static void update() {
    String from = url;
    url = "";
    if (from.startsWith("https://") && ROOT_CA[0] == '\0') {
        say("ota/status", "FAILED this firmware has no root certificate for https");
        return;
    }
    // Written down before the slot is chosen: cut in between, the old image runs, and says FAILED.
    settings.putString("chosen", esp_ota_get_next_update_partition(nullptr)->label);
    WiFiClientSecure secure;
    secure.setCACert(ROOT_CA);
    WiFiClient plain;
    HTTPUpdate download(30000);
    download.rebootOnUpdate(false);
    WiFiClient &client = from.startsWith("https://") ? static_cast<WiFiClient &>(secure) : plain;
    // It refuses what is no image of this chip, and verifies the slot before it chooses it.
    if (download.update(client, from) == HTTP_UPDATE_OK) {
        ESP.restart();
    }
    settings.remove("chosen");
    say("ota/status", "FAILED " + download.getLastErrorString());
}

// Arduino would confirm every image before setup() runs.
extern "C" bool verifyRollbackLater() { return true; }

void setup() {
    Serial.begin(115200);
    Serial.setTimeout(60000);
    settings.begin("device");
    id = ask("id", "Device id");
    WiFi.begin(ask("ssid", "Wi-Fi network").c_str(), ask("wifi", "Wi-Fi password").c_str());
    static String broker = ask("broker", "Broker's address");
    mqtt.setServer(broker.c_str(), 1883);
    mqtt.setBufferSize(MESSAGE_MAX_BYTES);
    mqtt.setCallback(on_message);
    pinMode(LED_BUILTIN, OUTPUT);
}

void loop() {
    digitalWrite(LED_BUILTIN, millis() / 500 % 2);
    if (!settings.getString("chosen").isEmpty() && !mqtt.connected() && millis() > TRIAL_MS) {
        ESP.restart();
    }
    if (!mqtt.loop()) {
        if (WiFi.status() == WL_CONNECTED && mqtt.connect(id.c_str(), id.c_str(), ask("password", "Password").c_str())) {
            tell_the_end();
            say("version", VERSION);
            mqtt.subscribe(topic("ota").c_str(), 1);
        } else {
            delay(2000);
        }
    }
    if (!url.isEmpty()) {
        update();
    }
}
