// A chip as a process of this machine: its bootloader here, each boot of its firmware a process of its own, flash in memory that
// both see. Arguments: the image in slot 0, and the operations on flash at which the power is cut, one after another.
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "Arduino.h"
#include "WiFi.h"
#include "esp_timer.h"
#include "freertos/FreeRTOS.h"
#include "freertos/semphr.h"
#include "freertos/task.h"
extern "C" {
#include "chip.h"
}

void setup();
void loop();

enum Ending { RESTARTED = 3, CRASHED = 4, CUT = 5 };

HardwareSerial Serial;
EspClass ESP;
WiFiClass WiFi;
static const char *image() { return reinterpret_cast<const char *>(chip_slot(chip->running)); }

// How a virtual device behaves that runs this image: a byte behind a mark (crates/image/src/demo.rs).
static char behaviour() {
    static const std::string MARK = "updraft demo\x9c\x1b\xe4\x57";
    const std::string bytes(image(), CHIP_SLOT_BYTES);
    const size_t at = bytes.find(MARK);
    return at == std::string::npos ? 0 : bytes[at + MARK.size()];
}

const char *host(const char *name) {
    const char *value = std::getenv(name);
    return value == nullptr ? "" : value;
}
const char *hostVersion() { return image() + 48; }
wl_status_t WiFiClass::status() { return behaviour() == 2 ? WL_DISCONNECTED : WL_CONNECTED; }
void EspClass::restart() { _exit(RESTARTED); }
extern "C" void esp_restart(void) { _exit(RESTARTED); }

extern "C" int64_t esp_timer_get_time(void) {
    static timespec start;
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (start.tv_sec == 0) start = now;
    return (now.tv_sec - start.tv_sec) * 1000000LL + (now.tv_nsec - start.tv_nsec) / 1000;
}
unsigned long millis() { return static_cast<unsigned long>(esp_timer_get_time() / 1000); }
void delay(uint32_t milliseconds) { usleep(milliseconds * 1000); }

// The one timer there is.
static esp_timer_cb_t on_timer;
extern "C" esp_err_t esp_timer_create(const esp_timer_create_args_t *arguments, esp_timer_handle_t *handle) {
    on_timer = arguments->callback;
    *handle = reinterpret_cast<esp_timer_handle_t>(&on_timer);
    return ESP_OK;
}
static esp_err_t start_timer(uint64_t microseconds) {
    itimerval when = {{0, 0}, {static_cast<time_t>(microseconds / 1000000), static_cast<suseconds_t>(microseconds % 1000000)}};
    std::signal(SIGALRM, [](int) { on_timer(nullptr); });
    return setitimer(ITIMER_REAL, &when, nullptr);
}
extern "C" esp_err_t esp_timer_start_once(esp_timer_handle_t, uint64_t microseconds) { return start_timer(microseconds); }
extern "C" esp_err_t esp_timer_stop(esp_timer_handle_t) { return start_timer(0); }

// One task.
extern "C" SemaphoreHandle_t xSemaphoreCreateMutexStatic(StaticSemaphore_t *memory) {
    return reinterpret_cast<SemaphoreHandle_t>(memory);
}
extern "C" BaseType_t xSemaphoreTake(SemaphoreHandle_t, TickType_t) { return pdPASS; }
extern "C" BaseType_t xSemaphoreGive(SemaphoreHandle_t) { return pdPASS; }
extern "C" BaseType_t xTaskCreate(void (*)(void *), const char *, uint32_t, void *, UBaseType_t, TaskHandle_t *) { return 0; }
extern "C" void vTaskDelay(TickType_t ticks) { delay(ticks); }

[[noreturn]] static void run() {
    chip_on_cut = [] { _exit(CUT); };
    // Whoever ends the chip ends what runs on it.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (behaviour() == 1) _exit(CRASHED);
    setup();
    for (;;) loop();
}

int main(int count, char **arguments) {
    std::ifstream file(arguments[1], std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    int next = 2;
    esp_reset_reason_t reset = ESP_RST_POWERON;
    chip_move_to(mmap(nullptr, CHIP_MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    chip_make(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size(), true);
    for (int boots = 0; boots < 1000; boots++) {
        if (chip->cut_at <= chip->operations && next < count) {
            chip->cut_at = chip->operations + static_cast<uint32_t>(std::atoi(arguments[next++]));
            chip->cut_is_torn = next % 2 == 0;
        }
        if (!chip_boot(reset)) {
            reset = ESP_RST_POWERON;
            continue;
        }
        std::printf("boot %d: slot %u, version %s, reset %d\n", boots, chip->running, hostVersion(), static_cast<int>(reset));
        std::fflush(stdout);
        const pid_t child = fork();
        if (child == 0) run();
        int status = 0;
        waitpid(child, &status, 0);
        const int ending = WIFEXITED(status) ? WEXITSTATUS(status) : CUT;
        reset = ending == RESTARTED ? ESP_RST_SW : ending == CRASHED ? ESP_RST_PANIC : ESP_RST_POWERON;
    }
    return 1;
}
