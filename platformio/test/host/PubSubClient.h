// Stand-in for PubSubClient 2.8, src/PubSubClient.h: the same calls over a socket of this machine. MQTT 3.1.1.
#ifndef STAND_IN_PUBSUBCLIENT_H
#define STAND_IN_PUBSUBCLIENT_H

#include "Arduino.h"
#include "WiFi.h"

class PubSubClient {
public:
    explicit PubSubClient(Client &) {}
    PubSubClient &setServer(const char *, uint16_t) { return *this; }
    PubSubClient &setCallback(void (*callback)(char *, uint8_t *, unsigned int)) {
        callback_ = callback;
        return *this;
    }
    uint16_t getBufferSize() const { return static_cast<uint16_t>(room_); }
    bool setBufferSize(uint16_t bytes) {
        room_ = bytes;
        return true;
    }
    bool connect(const char *id, const char *user, const char *password) {
        return connect(id, user, password, nullptr, 0, false, nullptr);
    }
    bool connect(const char *id, const char *user, const char *password, const char *willTopic, uint8_t willQos, bool willRetain,
                 const char *willMessage);
    bool connected();
    bool loop();
    bool publish(const char *topic, const char *payload, bool retained);
    bool subscribe(const char *topic, uint8_t qos);

private:
    bool send(uint8_t first, const std::string &body);
    bool receive(uint8_t &first, std::string &body, int timeout_ms);
    void close();

    void (*callback_)(char *, uint8_t *, unsigned int) = nullptr;
    size_t room_ = 256;
    int socket_ = -1;
};

#endif
