#include <stdio.h>

#include "test_update.h"

int main(void) {
    test_chip();
    puts("the chip's model: ok");
    test_parts();
    puts("parts: ok");
    test_refusal();
    puts("refusals: ok");
    test_download();
    puts("downloads: ok");
    test_update();
    puts("updates and cuts: ok");
    test_history();
    puts("random histories: ok");
    return 0;
}
