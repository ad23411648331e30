/* What the network does to a download. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "test_update.h"
#include "world.h"

static struct world world;
static uint32_t deferral_s;

static void make(void) {
    const struct image_options options = image_options("1.1.0", 200000);
    world_make(&world, &options, true);
}

static uint32_t not_now(void *context, char *why, size_t why_bytes) {
    (void)context;
    (void)snprintf(why, why_bytes, "the battery is low");
    return deferral_s;
}

static void a_lost_connection_is_gone_on_from(void) {
    trying("lost connections");
    make();
    world.breaks = 5;
    world.break_after = 50000;
    world_update(&world);
    CHECK_TEXT(world.last_status, "SUCCESS");
    /* Each time at most a sector is asked for twice. */
    CHECK(world.bytes_sent < world.file_bytes + 5U * 8192U);
}

static void a_connection_lost_for_good_is_given_up(void) {
    trying("lost for good");
    make();
    world.breaks = 100;
    world.break_after = 5000;
    world_update(&world);
    CHECK_TEXT(world.last_status, "FAILED given up after 6 tries: the connection was lost: reset [connection_lost]");
    CHECK(chip->running == 0 && world.agent.record.failure_count == 0);
    make();
    world.is_silent = true;
    world_update(&world);
    CHECK_TEXT(world.last_status, "FAILED given up after 6 tries: the server was silent for 30 s [connection_lost]");
}

static void an_expired_url_is_asked_for_again(void) {
    trying("403");
    make();
    world.status = 403;
    world.status_count = 3;
    world_update(&world);
    CHECK_TEXT(world.last_status, "SUCCESS");
    CHECK(world.url_requests == 3);
    make();
    world.status = 403;
    world.status_count = 100;
    world.denies_fresh_urls = true;
    world_update(&world);
    CHECK_TEXT(world.last_status, "FAILED the server answered 403, and no fresh URL came [url_expired]");
}

static void other_answers_are_retried_or_final(void) {
    trying("statuses");
    make();
    world.status = 503;
    world.status_count = 5;
    world_update(&world);
    CHECK_TEXT(world.last_status, "SUCCESS");
    make();
    world.status = 404;
    world.status_count = 1;
    world_update(&world);
    CHECK_TEXT(world.last_status, "FAILED the server answered 404 [server_error]");
}

static void a_server_without_ranges_is_put_up_with(void) {
    trying("no ranges");
    make();
    world.ignores_ranges = true;
    world.breaks = 2;
    world.break_after = 70000;
    world_update(&world);
    CHECK_TEXT(world.last_status, "SUCCESS");
}

static void a_restart_in_mid_download_goes_on(void) {
    trying("a restart in mid-download");
    make();
    chip->cut_at = 70;
    world_run(&world, ESP_RST_POWERON, 100);
    world_update(&world);
    CHECK_TEXT(world.last_status, "SUCCESS");
    CHECK(world.url_requests == 1 && world.bytes_sent < world.file_bytes + 3U * 65536U);
}

static void a_file_that_changes_is_never_mixed(void) {
    struct image_options options = image_options("1.2.0", 200000);
    trying("another file");
    make();
    chip->cut_at = 70;
    world_run(&world, ESP_RST_POWERON, 100);
    world_trigger(&world);
    world.now_ms = 0;
    world.file_bytes = image_build(&options, world.file);
    world.etag = "\"two\"";
    world.url = "http://server/lamp/releases/v1.2.0/firmware.bin";
    world_update(&world);
    world_update(&world);
    CHECK_TEXT(world.last_status, "SUCCESS");
    CHECK(memcmp(chip_slot(chip->running), world.file, world.file_bytes) == 0);
}

static void triggers_that_do_not_count(void) {
    static const char *const NONE[] = {"", "hello", "ftp://server/x", "http://", "http://user@server/x", "http://server/a b"};
    trying("triggers");
    make();
    world_run(&world, ESP_RST_POWERON, 100);
    (void)updraft_message(&world.agent, "devices/lamp-1/ota", (const uint8_t *)world.url, strlen(world.url), true, 0);
    CHECK(world.agent.phase == UPDRAFT_IDLE && world.requests == 0);
    for (size_t i = 0; i < sizeof NONE / sizeof NONE[0]; i++) {
        (void)updraft_message(&world.agent, "devices/lamp-1/ota", (const uint8_t *)NONE[i], strlen(NONE[i]), false, 0);
        CHECK(world.agent.phase == UPDRAFT_IDLE);
        CHECK_TEXT(world.agent.outbox.reason, "[bad_url]");
    }
    CHECK(!updraft_message(&world.agent, "devices/lamp-2/ota", (const uint8_t *)world.url, strlen(world.url), false, 0));
}

static void an_application_may_put_an_update_off(void) {
    trying("not now");
    make();
    world.config.not_now = not_now;
    deferral_s = 600;
    world_update(&world);
    CHECK_TEXT(world.last_status, "DEFERRED 600 the battery is low");
    CHECK(world.requests == 0 && chip->running == 0);
    /* `force` lets the next one through. */
    (void)updraft_message(&world.agent, "devices/lamp-1/ota/control", (const uint8_t *)"force", 5, false, 0);
    world_trigger(&world);
    CHECK(world.agent.phase == UPDRAFT_FETCHING);
}

static void a_device_without_a_record_updates_and_says_so(void) {
    trying("no record");
    make();
    chip->has_record_space = false;
    world_update(&world);
    CHECK(chip->running == 1);
    CHECK_TEXT(world.last_report, "\"state\":\"valid\"");
    CHECK_TEXT(world.last_report, "\"lacks\":[\"signatures\",\"record\",\"crash_loops\"]");
}

void test_download(void) {
    a_lost_connection_is_gone_on_from();
    a_connection_lost_for_good_is_given_up();
    an_expired_url_is_asked_for_again();
    other_answers_are_retried_or_final();
    a_server_without_ranges_is_put_up_with();
    a_restart_in_mid_download_goes_on();
    a_file_that_changes_is_never_mixed();
    triggers_that_do_not_count();
    an_application_may_put_an_update_off();
    a_device_without_a_record_updates_and_says_so();
}
