/* Updates from trigger to outcome, with a power cut at every operation on flash. */
#include "test_update.h"

#include <string.h>

#include "check.h"
#include "esp_ota_ops.h"
#include "world.h"

static struct world world;

static struct image_options next(enum behaviour behaviour) {
    struct image_options options = image_options("1.1.0", 70000);
    options.behaviour = behaviour;
    return options;
}

static uint32_t state_of_running(void) { return (uint32_t)world.agent.running_state; }

static void a_good_image_is_confirmed(bool has_rollback) {
    const struct image_options options = next(HEALTHY);
    trying("a good image, rollback %d", has_rollback);
    world_make(&world, &options, has_rollback);
    world_update(&world);
    CHECK_TEXT(world.last_status, "SUCCESS");
    CHECK(chip->running == 1 && state_of_running() == UPDRAFT_STATE_VALID);
    CHECK_TEXT(world.last_report, "{\"version\":\"1.1.0\",\"chip\":\"esp32s3\",\"sha256\":\"");
    CHECK_TEXT(world.last_report, "\"slot\":\"ota_1\",\"state\":\"valid\",\"slot_bytes\":262144,\"secure_version\":0,\"stamped\":false,\"rollback\":");
    CHECK_TEXT(world.last_report, has_rollback ? "\"rollback\":true" : "\"rollback\":false");
    CHECK_TEXT(world.last_report, "\"reset\":\"software\",\"lacks\":[\"signatures\",\"crash_loops\"],"
                                  "\"last\":{\"to\":\"1.1.0\",\"result\":\"SUCCESS\"}}");
    CHECK(world_said(&world, "ota/progress {\"phase\":\"restart\",\"done\":"));
    CHECK(!world_said(&world, "secret"));
    /* The same trigger again leads nowhere. */
    const uint32_t boots = world.boots;
    world_update(&world);
    CHECK(chip->running == 1 && world.boots == boots + 1 && !chip->wants_restart);
}

/* An image that does not prove itself is left after one boot, and after two failures refused. */
static void a_bad_image_is_left_and_then_refused(enum behaviour behaviour, const char *code) {
    const struct image_options options = next(behaviour);
    trying("a bad image, %s", code);
    world_make(&world, &options, true);
    if (behaviour == SAYS_NO) {
        world.config.waits_for_application = true;
    }
    for (int attempt = 0; attempt < 2; attempt++) {
        world_update(&world);
        CHECK_TEXT(world.last_status, "FAILED rolled back: ");
        CHECK_TEXT(world.last_status, code);
        CHECK(chip->running == 0 && world.agent.phase == UPDRAFT_IDLE);
        CHECK_TEXT(world.last_report, "\"version\":\"1.0.0\"");
        CHECK_TEXT(world.last_report, "\"last\":{\"to\":\"1.1.0\",\"result\":\"FAILED\"");
    }
    world_update(&world);
    CHECK_TEXT(world.last_status, "[quarantined]");
    CHECK(chip->running == 0 && !chip_holds_image(1));
    (void)updraft_message(&world.agent, "devices/lamp-1/ota/control", (const uint8_t *)"clear_quarantine", 16, false, 0);
    world_update(&world);
    CHECK_TEXT(world.last_status, code);
}

static void bad_images_are_left(void) {
    a_bad_image_is_left_and_then_refused(CRASHES_AT_BOOT, "[crashed]");
    a_bad_image_is_left_and_then_refused(HANGS, "[hung]");
    a_bad_image_is_left_and_then_refused(NEVER_ONLINE, "[broker_not_reached]");
    a_bad_image_is_left_and_then_refused(SAYS_NO, "the sensor does not answer [check_failed]");
}

static void without_rollback_a_silent_image_is_left_too(void) {
    const struct image_options options = next(NEVER_ONLINE);
    trying("a silent image without rollback");
    world_make(&world, &options, false);
    world_update(&world);
    CHECK_TEXT(world.last_status, "[broker_not_reached]");
    CHECK(chip->running == 0);
}

/* While the broker is away an image is left, but not blamed; and a confirmed one is never left for it. */
static void an_outage_is_no_fault_of_an_image(void) {
    const struct image_options options = next(HEALTHY);
    trying("an outage");
    world_make(&world, &options, true);
    world_update(&world);
    world.broker_is_away = true;
    const uint32_t boots = world.boots;
    world_run(&world, ESP_RST_POWERON, 3600000);
    CHECK(world.boots == boots + 1 && chip->running == 1 && !chip->wants_restart);
}

/* Whatever is cut, an image runs; and the update that was begun, or the next one, succeeds. */
static void no_cut_makes_a_device_that_does_not_boot(bool has_rollback, bool is_torn, enum behaviour behaviour) {
    const struct image_options options = next(behaviour);
    uint32_t at = 0;
    do {
        at++;
        trying("cut %u, torn %d, rollback %d, behaviour %d", at, is_torn, has_rollback, (int)behaviour);
        world_make(&world, &options, has_rollback);
        chip->cut_at = at;
        chip->cut_is_torn = is_torn;
        world_update(&world);
        CHECK(chip->running != CHIP_NO_SLOT);
        CHECK(world.agent.phase == UPDRAFT_IDLE);
        if (behaviour == HEALTHY) {
            CHECK(world.agent.record.failure_count == 0);
        } else {
            CHECK(chip->running == 0);
        }
        world_update(&world);
        CHECK(chip->running == (behaviour == HEALTHY ? 1U : 0U) && state_of_running() == UPDRAFT_STATE_VALID);
        CHECK_TEXT(world.last_status, behaviour == HEALTHY ? "SUCCESS" : "FAILED");
    } while (chip->operations >= at && at < 2000);
    CHECK(at > 50 && at < 2000);
}

/* One cut, and then another. */
static void two_cuts_are_no_worse_than_one(void) {
    const struct image_options options = next(HEALTHY);
    for (uint32_t first = 1; first < 80; first += 5) {
        for (uint32_t second = 1; second < 40; second += 5) {
            trying("cut %u and then %u", first, second);
            world_make(&world, &options, true);
            chip->cut_at = first;
            chip->cut_is_torn = true;
            world_run(&world, ESP_RST_POWERON, 100);
            world_update(&world);
            chip->cut_at = chip->operations + second;
            world_update(&world);
            CHECK(chip->running != CHIP_NO_SLOT && world.agent.phase == UPDRAFT_IDLE);
            chip->cut_at = 0;
            world_update(&world);
            CHECK(chip->running == 1 && state_of_running() == UPDRAFT_STATE_VALID);
        }
    }
}

/* Where otadata selects a slot whose image is broken, the other one runs: it is never confirmed in its name. */
static void what_runs_is_compared_before_it_is_confirmed(void) {
    const struct image_options options = next(HEALTHY);
    trying("otadata selects another slot");
    world_make(&world, &options, true);
    chip_set_entry(0, &(struct chip_entry){1, ESP_OTA_IMG_VALID, true});
    chip_set_entry(1, &(struct chip_entry){2, ESP_OTA_IMG_VALID, true});
    world_run(&world, ESP_RST_POWERON, 100);
    CHECK(chip->running == 0 && !world.port.runs_selected(NULL));
    world_update(&world);
    CHECK(chip->running == 1 && state_of_running() == UPDRAFT_STATE_VALID);
}

void test_update(void) {
    a_good_image_is_confirmed(true);
    a_good_image_is_confirmed(false);
    bad_images_are_left();
    without_rollback_a_silent_image_is_left_too();
    an_outage_is_no_fault_of_an_image();
    what_runs_is_compared_before_it_is_confirmed();
    for (int is_torn = 0; is_torn < 2; is_torn++) {
        no_cut_makes_a_device_that_does_not_boot(true, is_torn == 1, HEALTHY);
        no_cut_makes_a_device_that_does_not_boot(false, is_torn == 1, HEALTHY);
        no_cut_makes_a_device_that_does_not_boot(true, is_torn == 1, NEVER_ONLINE);
    }
    two_cuts_are_no_worse_than_one();
}
