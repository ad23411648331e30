#include <arpa/inet.h>
#include <cstdlib>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "PubSubClient.h"

static std::string field(const char *text) {
    const size_t length = std::strlen(text);
    return std::string{static_cast<char>(length >> 8), static_cast<char>(length & 255)} + text;
}

void PubSubClient::close() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
}

bool PubSubClient::send(uint8_t first, const std::string &body) {
    std::string packet(1, static_cast<char>(first));
    size_t left = body.size();
    do {
        const size_t digit = left % 128;
        left /= 128;
        packet += static_cast<char>(digit | (left > 0 ? 128U : 0U));
    } while (left > 0);
    packet += body;
    if (socket_ < 0 || packet.size() > room_ || ::send(socket_, packet.data(), packet.size(), MSG_NOSIGNAL) < 0) {
        close();
        return false;
    }
    return true;
}

bool PubSubClient::receive(uint8_t &first, std::string &body, int timeout_ms) {
    pollfd ready = {socket_, POLLIN, 0};
    uint8_t digit = 0;
    size_t length = 0;
    unsigned shift = 0;
    if (socket_ < 0 || poll(&ready, 1, timeout_ms) <= 0) return false;
    if (recv(socket_, &first, 1, MSG_WAITALL) != 1) {
        close();
        return false;
    }
    do {
        if (recv(socket_, &digit, 1, MSG_WAITALL) != 1) return false;
        length |= static_cast<size_t>(digit & 127U) << shift;
        shift += 7;
    } while ((digit & 128U) != 0);
    body.assign(length, '\0');
    return length == 0 || recv(socket_, &body[0], length, MSG_WAITALL) == static_cast<ssize_t>(length);
}

bool PubSubClient::connect(const char *id, const char *user, const char *password, const char *willTopic, uint8_t,
                           bool, const char *willMessage) {
    sockaddr_in address = {};
    uint8_t first = 0;
    std::string body = field("MQTT") + '\x04';
    close();
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(std::atoi(host("BROKER_PORT"))));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socket_ = socket(AF_INET, SOCK_STREAM, 0);
    if (::connect(socket_, reinterpret_cast<sockaddr *>(&address), sizeof address) != 0) {
        close();
        return false;
    }
    // A clean session; user and password; the will with QoS 1, retained.
    body += static_cast<char>(willTopic == nullptr ? 0xC2 : 0xEE);
    body += std::string("\0\x0F", 2) + field(id);
    if (willTopic != nullptr) body += field(willTopic) + field(willMessage);
    body += field(user) + field(password);
    if (send(0x10, body) && receive(first, body, 5000) && first == 0x20 && body.size() == 2 && body[1] == 0) return true;
    close();
    return false;
}

bool PubSubClient::connected() { return socket_ >= 0; }

bool PubSubClient::loop() {
    static unsigned long pinged_at;
    uint8_t first = 0;
    std::string body;
    if (millis() - pinged_at > 5000) {
        pinged_at = millis();
        send(0xC0, "");
    }
    while (receive(first, body, 0)) {
        if ((first & 0xF0) != 0x30 || body.size() < 2) continue;
        const size_t length = static_cast<size_t>(static_cast<uint8_t>(body[0])) << 8 | static_cast<uint8_t>(body[1]);
        std::string topic = body.substr(2, length);
        std::string payload = body.substr(2 + length);
        if ((first & 0x06) != 0) {
            send(0x40, payload.substr(0, 2));
            payload.erase(0, 2);
        }
        if (callback_ != nullptr && body.size() < room_) {
            callback_(&topic[0], reinterpret_cast<uint8_t *>(&payload[0]), static_cast<unsigned int>(payload.size()));
        }
    }
    return connected();
}

bool PubSubClient::publish(const char *topic, const char *payload, bool retained) {
    return send(retained ? 0x31 : 0x30, field(topic) + payload);
}

bool PubSubClient::subscribe(const char *topic, uint8_t qos) {
    return send(0x82, std::string("\0\x01", 2) + field(topic) + static_cast<char>(qos));
}
