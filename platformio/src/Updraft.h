// Safe updates for an Arduino project with PubSubClient, or any client that publishes and subscribes as that one does.
//
//   Updraft.begin("lamp-1", FIRMWARE_VERSION, mqtt);   first in setup(), before anything waits
//   Updraft.message(topic, payload, length)            in the client's callback; true: it was for the updates
//   Updraft.connected();                               after each successful connect()
//   Updraft.loop();                                    in loop(), beside mqtt.loop()
#ifndef UPDRAFT_ARDUINO_H
#define UPDRAFT_ARDUINO_H

#include "updraft_esp.h"

class UpdraftClass {
public:
    // To be changed before begin(); every field is explained in updraft_esp.h and updraft/agent.h.
    updraft_esp_config config;

    UpdraftClass();

    // `id` and `version` must stay. Nullptr, or why there will be no updates.
    template <class Client> const char *begin(const char *id, const char *version, Client &client) {
        config.publish = publish<Client>;
        config.publish_context = &client;
        subscribe_ = subscribe<Client>;
        is_connected_ = isConnected<Client>;
        // A presigned URL does not fit into the client's own 256 bytes.
        makeRoom(client);
        config.agent.device_id = id;
        config.agent.version = version;
        return updraft_esp_begin(&config);
    }
    bool message(const char *topic, const void *payload, unsigned int length) {
        return updraft_esp_message(topic, payload, length, false);
    }
    void connected();
    void loop();
    // What the application finds when it looks at itself; only where config.agent.waits_for_application is set.
    void isWell() { updraft_esp_self_test(nullptr); }
    void isNotWell(const char *why) { updraft_esp_self_test(why); }
    // Not the time for deep sleep.
    bool isBusy() const { return updraft_esp_is_busy(); }
    // For the last will, `offline`, retained; set config.agent.says_online too.
    const char *presenceTopic() const { return updraft_esp_presence_topic(); }

private:
    static const unsigned int MESSAGE_BYTES = UPDRAFT_URL_BYTES + UPDRAFT_TOPIC_BYTES + 16;

    // PubSubClient publishes with QoS 0 only: what was sent counts as received, and the report at the next connect says it again.
    template <class Client> static int publish(void *client, const char *topic, const char *payload, bool is_retained) {
        return static_cast<Client *>(client)->publish(topic, payload, is_retained) ? 0 : -1;
    }
    // The project may have set it since.
    template <class Client> static void makeRoom(Client &client) {
        if (client.getBufferSize() < MESSAGE_BYTES) client.setBufferSize(MESSAGE_BYTES);
    }
    template <class Client> static void subscribe(void *client, const char *topic) {
        makeRoom(*static_cast<Client *>(client));
        static_cast<Client *>(client)->subscribe(topic, 1);
    }
    template <class Client> static bool isConnected(void *client) { return static_cast<Client *>(client)->connected(); }

    void (*subscribe_)(void *client, const char *topic);
    bool (*is_connected_)(void *client);
};

extern UpdraftClass Updraft;

#endif
