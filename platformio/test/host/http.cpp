// esp_http_client over a socket of this machine: http only.
#include <arpa/inet.h>
#include <cstdlib>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

#include "esp_http_client.h"

struct esp_http_client {
    esp_http_client_config_t config;
    std::string authority, target, headers, body;
    int socket = -1;
    int status = 0;
    int64_t left = 0;
};

esp_http_client_handle_t esp_http_client_init(const esp_http_client_config_t *config) {
    const std::string url = config->url;
    auto *client = new esp_http_client;
    const size_t path = url.find('/', 7);
    client->config = *config;
    client->authority = url.substr(7, path - 7);
    client->target = path == std::string::npos ? "/" : url.substr(path);
    return client;
}

esp_err_t esp_http_client_set_header(esp_http_client_handle_t client, const char *key, const char *value) {
    client->headers += std::string(key) + ": " + value + "\r\n";
    return ESP_OK;
}

esp_err_t esp_http_client_open(esp_http_client_handle_t client, int) {
    sockaddr_in address = {};
    const size_t colon = client->authority.find(':');
    const std::string request =
        "GET " + client->target + " HTTP/1.1\r\nHost: " + client->authority + "\r\n" + client->headers + "\r\n";
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(std::atoi(client->authority.c_str() + colon + 1)));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client->socket = socket(AF_INET, SOCK_STREAM, 0);
    // As ESP-IDF, which sends a head from a buffer of this size.
    const bool fits = request.size() < static_cast<size_t>(client->config.buffer_size_tx);
    return fits && connect(client->socket, reinterpret_cast<sockaddr *>(&address), sizeof address) == 0 &&
                   send(client->socket, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size())
               ? ESP_OK
               : ESP_FAIL;
}

static ssize_t read_some(esp_http_client_handle_t client, char *bytes, size_t count) {
    pollfd ready = {client->socket, POLLIN, 0};
    if (poll(&ready, 1, client->config.timeout_ms) <= 0) return -ESP_ERR_HTTP_EAGAIN;
    const ssize_t read = recv(client->socket, bytes, count, 0);
    return read > 0 ? read : ESP_FAIL;
}

static void tell(esp_http_client_handle_t client, std::string key, std::string value) {
    esp_http_client_event_t event = {HTTP_EVENT_ON_HEADER, client->config.user_data, &key[0], &value[0]};
    if (key == "content-length") client->left = std::atoll(value.c_str());
    client->config.event_handler(&event);
}

int64_t esp_http_client_fetch_headers(esp_http_client_handle_t client) {
    std::string head;
    char letter = 0;
    while (head.find("\r\n\r\n") == std::string::npos) {
        if (read_some(client, &letter, 1) != 1) return ESP_FAIL;
        head += letter;
    }
    client->status = std::atoi(head.c_str() + 9);
    for (size_t at = head.find("\r\n") + 2; at + 2 < head.size();) {
        const size_t end = head.find("\r\n", at), colon = head.find(':', at);
        tell(client, head.substr(at, colon - at), head.substr(colon + 2, end - colon - 2));
        at = end + 2;
    }
    return client->left;
}

bool esp_http_client_is_chunked_response(esp_http_client_handle_t) { return false; }
int esp_http_client_get_status_code(esp_http_client_handle_t client) { return client->status; }

int esp_http_client_read(esp_http_client_handle_t client, char *buffer, int len) {
    if (client->left == 0) return 0;
    const ssize_t read = read_some(client, buffer, static_cast<size_t>(len < client->left ? len : client->left));
    client->left -= read > 0 ? read : 0;
    return static_cast<int>(read);
}

bool esp_http_client_is_complete_data_received(esp_http_client_handle_t client) { return client->left == 0; }

esp_err_t esp_http_client_close(esp_http_client_handle_t client) {
    close(client->socket);
    return ESP_OK;
}

esp_err_t esp_http_client_cleanup(esp_http_client_handle_t client) {
    delete client;
    return ESP_OK;
}
