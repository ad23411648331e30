// Stand-in for arduino-esp32 2.0.17, cores/esp32/Arduino.h, WString.h, HardwareSerial.h, Esp.h: what the examples use of them.
#ifndef STAND_IN_ARDUINO_H
#define STAND_IN_ARDUINO_H

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

#define HIGH 1
#define LOW 0
#define OUTPUT 3
#define LED_BUILTIN 97

unsigned long millis();
void delay(uint32_t milliseconds);
inline void pinMode(uint8_t, uint8_t) {}
inline void digitalWrite(uint8_t, uint8_t) {}
// What the firmware is compiled with on a device, the tests give by the environment; the version is that of the running image.
const char *host(const char *name);
const char *hostVersion();

inline size_t strlcpy(char *to, const char *from, size_t room) {
    return static_cast<size_t>(std::snprintf(to, room, "%s", from));
}

class String {
public:
    String(const char *text = "") : text_(text) {}
    bool isEmpty() const { return text_.empty(); }
    const char *c_str() const { return text_.c_str(); }
    String &operator+=(char letter) {
        text_ += letter;
        return *this;
    }
    bool operator==(const String &other) const { return text_ == other.text_; }
    friend String operator+(const char *left, const String &right) { return String((left + right.text_).c_str()); }

private:
    std::string text_;
};

struct HardwareSerial {
    void begin(unsigned long) {}
    int available() { return 0; }
    int read() { return -1; }
    template <class... Arguments> void printf(const char *format, Arguments... arguments) {
        std::printf(format, arguments...);
    }
};
extern HardwareSerial Serial;

struct EspClass {
    void restart();
};
extern EspClass ESP;

#endif
