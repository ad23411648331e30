/* Random histories: updates to whatever images, over whatever network, with the power cut whenever. */
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "test_update.h"
#include "world.h"

#ifndef SEEDS
#define SEEDS 60U
#endif
#define UPDATES 6U

static struct world world;

static unsigned below(unsigned bound) { return (unsigned)rand() % bound; }

/* Something else lies on the server. */
static void deploy(unsigned number, enum behaviour behaviour, uint32_t data_bytes) {
    static char version[16];
    static char etag[16];
    (void)snprintf(version, sizeof version, "1.%u.0", number);
    (void)snprintf(etag, sizeof etag, "\"%u-%u-%u\"", number, (unsigned)behaviour, (unsigned)data_bytes);
    struct image_options options = image_options(version, data_bytes);
    options.behaviour = behaviour;
    world.file_bytes = image_build(&options, world.file);
    world.etag = etag;
}

static void trouble(void) {
    static const uint32_t STATUSES[] = {403, 404, 416, 429, 500, 503};
    world.status = STATUSES[below(6)];
    world.status_count = below(3);
    world.breaks = below(8);
    world.break_after = 1U + below(90000);
    world.ignores_ranges = below(4) == 0;
    world.denies_fresh_urls = below(4) == 0;
    chip->cut_at = below(3) == 0 ? 0 : chip->operations + 1U + below(90);
    chip->cut_is_torn = below(2) == 0;
    if (below(6) == 0) {
        world.file[288U + below(20000)] ^= 4;
    }
}

static void calm(void) {
    world.status_count = 0;
    world.breaks = 0;
    world.ignores_ranges = false;
    world.denies_fresh_urls = false;
    chip->cut_at = 0;
}

void test_history(void) {
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        const struct image_options first = image_options("1.1.0", 30000);
        srand(seed);
        world_make(&world, &first, below(2) == 0);
        world.url = "http://server/lamp/production/firmware.bin";
        for (unsigned update = 1; update <= UPDATES; update++) {
            trying("seed %u, update %u", seed, update);
            /* Without rollback nothing helps against a crash at boot. */
            deploy(update, chip->has_rollback ? (enum behaviour)below(4) : (below(2) == 0 ? HEALTHY : NEVER_ONLINE), 30000U + below(60000));
            trouble();
            world_update(&world);
            CHECK(chip->running != CHIP_NO_SLOT);
            calm();
            world_finish(&world, ESP_RST_POWERON);
            CHECK(chip->running != CHIP_NO_SLOT && world.agent.phase == UPDRAFT_IDLE);
            CHECK(world_behaviour() == HEALTHY);
        }
        deploy(9, HEALTHY, 40000);
        trying("seed %u, the last update", seed);
        world_update(&world);
        CHECK_TEXT(world.last_report, "\"version\":\"1.9.0\"");
        CHECK(world.agent.running_state == UPDRAFT_STATE_VALID);
    }
}
