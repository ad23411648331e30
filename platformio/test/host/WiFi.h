// Stand-in for arduino-esp32 2.0.17, libraries/WiFi/src/WiFi.h and WiFiClient.h.
#ifndef STAND_IN_WIFI_H
#define STAND_IN_WIFI_H

#include "Arduino.h"

enum wl_status_t { WL_CONNECTED = 3, WL_DISCONNECTED = 6 };

struct WiFiClass {
    void begin(const char *, const char *) {}
    wl_status_t status();
};
extern WiFiClass WiFi;

class Client {};
class WiFiClient : public Client {};

#endif
