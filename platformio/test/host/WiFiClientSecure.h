// Stand-in for arduino-esp32 2.0.17, libraries/WiFiClientSecure/src/WiFiClientSecure.h.
#ifndef STAND_IN_WIFICLIENTSECURE_H
#define STAND_IN_WIFICLIENTSECURE_H

#include "WiFi.h"

class WiFiClientSecure : public WiFiClient {
public:
    void setCACert(const char *) {}
};

#endif
