#ifdef ARDUINO

#include "Updraft.h"

UpdraftClass Updraft;

UpdraftClass::UpdraftClass() : config(), subscribe_(nullptr), is_connected_(nullptr) { config.agent = updraft_defaults(); }

void UpdraftClass::connected() {
    if (subscribe_ != nullptr && updraft_esp_trigger_topic()[0] != '\0') {
        subscribe_(config.publish_context, updraft_esp_trigger_topic());
        subscribe_(config.publish_context, updraft_esp_control_topic());
        updraft_esp_connected();
    }
}

void UpdraftClass::loop() {
    if (is_connected_ != nullptr && !is_connected_(config.publish_context)) {
        updraft_esp_disconnected();
    }
    updraft_esp_loop();
}

#endif
