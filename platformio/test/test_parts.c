/* The parts by themselves: digests, texts, URLs, records; and whatever bytes there may be. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "test_update.h"
#include "updraft/image.h"
#include "updraft/record.h"
#include "world.h"

static void digests_are_those_of_the_standard(void) {
    static const uint8_t ABC[4] = {0xBA, 0x78, 0x16, 0xBF};
    static const uint8_t NOTHING[4] = {0xE3, 0xB0, 0xC4, 0x42};
    static const uint8_t LONG[4] = {0xCD, 0xC7, 0x6E, 0x5C};
    static uint8_t many[1000000];
    uint8_t digest[UPDRAFT_SHA256_BYTES];
    trying("SHA-256");
    updraft_sha256_of((const uint8_t *)"abc", 3, digest);
    CHECK(memcmp(digest, ABC, sizeof ABC) == 0);
    updraft_sha256_of((const uint8_t *)"", 0, digest);
    CHECK(memcmp(digest, NOTHING, sizeof NOTHING) == 0);
    memset(many, 'a', sizeof many);
    updraft_sha256_of(many, sizeof many, digest);
    CHECK(memcmp(digest, LONG, sizeof LONG) == 0);
}

static void sentences_are_cut_at_characters_and_codes_never(void) {
    char reason[UPDRAFT_REASON_BYTES + 1];
    char text[400];
    struct updraft_refusal refusal = updraft_refuse(UPDRAFT_SAYS_CHECK_FAILED);
    trying("reasons");
    for (size_t i = 0; i < 398; i += 2) {
        memcpy(&text[i], "\xC3\xA4", 2);
    }
    text[398] = '\0';
    updraft_reason(reason, &refusal, text);
    CHECK(strlen(reason) <= UPDRAFT_REASON_BYTES && updraft_is_coded(reason, "check_failed"));
    CHECK_TEXT(reason, "\xC3\xA4 [check_failed]");
    refusal = updraft_refuse3(UPDRAFT_SAYS_CHIP_REVISION, 101, 65535, 0);
    updraft_reason(reason, &refusal, "");
    CHECK(strcmp(reason, "the image is for chip revisions v1.1 to v655.35, this one is v0.0 [chip_revision]") == 0);
}

static bool is_good(const char *url) { return updraft_url_is_good(url, strlen(url)); }

static void urls_are_what_they_say(void) {
    char version[UPDRAFT_VERSION_BYTES + 1];
    char url[UPDRAFT_URL_BYTES + 1] = "https://server/a/b?c";
    trying("URLs");
    CHECK(is_good("http://h/x") && is_good("https://h:8443/x?y=z#f") && is_good("HTTP://[::1]:80/x") && is_good("http://h"));
    CHECK(!is_good("http://h:0/") && !is_good("http://h:70000/") && !is_good("http://[::1/x") && !is_good("http:///x"));
    CHECK(!is_good("http://a@h/") && !is_good("https://h/\xC3\xA4") && !is_good("http://h/\n"));
    updraft_url_version("http://h/firmware/p/releases/v1.2.0%2Bb/firmware.bin?expires=1", version);
    CHECK(strcmp(version, "1.2.0+b") == 0);
    updraft_url_version("http://h/p/production/firmware.bin", version);
    CHECK(version[0] == '\0');
    updraft_url_version("http://h/x?y=/releases/v1.2.0/firmware.bin", version);
    CHECK(version[0] == '\0');
    CHECK(updraft_version_equals("1.0", "v1.0.0") && updraft_version_equals("1.2.0+a", "1.2.0") && updraft_version_equals("01.2", "1.2"));
    CHECK(!updraft_version_equals("1.2.0", "1.2.1") && !updraft_version_equals("1.2.0-rc.1", "1.2.0") && !updraft_version_equals("1", "2"));
    CHECK(updraft_version_equals("1.2 (beta)", "1.2.0"));
    CHECK(updraft_version_equals("build-77", "build-77") && !updraft_version_equals("build-77", "build-78"));
    struct updraft_refusal refusal = updraft_url_follow(url, "/d/e#f");
    CHECK(!updraft_is_refused(&refusal) && strcmp(url, "https://server/d/e") == 0);
    refusal = updraft_url_follow(url, "//other/g");
    CHECK(!updraft_is_refused(&refusal) && strcmp(url, "https://other/g") == 0);
    refusal = updraft_url_follow(url, "http://other/h");
    CHECK(refusal.says == UPDRAFT_SAYS_DOWNGRADE);
}

static void fill(char *text, size_t bytes) {
    memset(text, 'x', bytes - 1);
    text[bytes - 1] = '\0';
}

static void the_fullest_record_comes_back_and_a_torn_one_does_not(void) {
    static struct updraft_record record;
    static struct updraft_record again;
    uint8_t bytes[UPDRAFT_RECORD_BYTES];
    uint8_t digest[UPDRAFT_SHA256_BYTES];
    char version[UPDRAFT_VERSION_BYTES + 1];
    trying("records");
    memset(&record, 0, sizeof record);
    fill(version, sizeof version);
    fill(record.attempt.to, sizeof record.attempt.to);
    fill(record.mark.file.etag, sizeof record.mark.file.etag);
    fill(record.to, sizeof record.to);
    fill(record.reason, sizeof record.reason);
    record.attempt.stage = UPDRAFT_BOOTED;
    record.result = UPDRAFT_FAILED;
    for (uint8_t i = 0; i < UPDRAFT_KEPT + 2U; i++) {
        memset(digest, i, sizeof digest);
        updraft_record_remember(&record, digest, version);
        updraft_record_blame(&record, digest);
        updraft_record_blame(&record, digest);
    }
    CHECK(record.version_count == UPDRAFT_KEPT && updraft_record_version(&record, digest) != NULL);
    memset(digest, 0, sizeof digest);
    CHECK(updraft_record_version(&record, digest) == NULL);
    CHECK(updraft_record_failures(&record, digest) == 2);
    updraft_record_write(&record, bytes);
    CHECK(updraft_record_read(&again, bytes) && memcmp(&again, &record, sizeof record) == 0);
    for (size_t bit = 0; bit < sizeof bytes * 8U; bit += 7) {
        bytes[bit / 8] ^= (uint8_t)(1U << (bit % 8U));
        CHECK(!updraft_record_read(&again, bytes));
        bytes[bit / 8] ^= (uint8_t)(1U << (bit % 8U));
    }
    memset(bytes, 0, sizeof bytes);
    CHECK(!updraft_record_read(&again, bytes));
}

/* The pieces that an image comes in never matter. */
static void pieces_do_not_matter(void) {
    static uint8_t image[FILE_BYTES];
    static struct updraft_verifier whole;
    static struct updraft_verifier pieces;
    const struct image_options options = image_options("1.1.0", 20000);
    const uint8_t keys[] = {1};
    const size_t length = image_sign(image, image_build(&options, image), keys, 1);
    trying("pieces");
    srand(1);
    for (int round = 0; round < 300; round++) {
        if (round > 0) {
            image[(size_t)rand() % length] ^= (uint8_t)(1 << (rand() % 8));
        }
        updraft_verifier_begin(&whole, UPDRAFT_FILE);
        updraft_verifier_add(&whole, image, length);
        updraft_verifier_begin(&pieces, UPDRAFT_FILE);
        for (size_t at = 0; at < length;) {
            const size_t wanted = 1U + (size_t)rand() % 700U;
            const size_t count = length - at < wanted ? length - at : wanted;
            updraft_verifier_add(&pieces, &image[at], count);
            at += count;
        }
        const struct updraft_refusal first = updraft_verifier_verdict(&whole);
        const struct updraft_refusal second = updraft_verifier_verdict(&pieces);
        CHECK(memcmp(&first, &second, sizeof first) == 0);
        CHECK(updraft_is_refused(&first) == (round > 0) || round > 0);
        CHECK(memcmp(whole.sha256, pieces.sha256, sizeof whole.sha256) == 0);
    }
}

/* Nothing that comes from outside does anything undefined: sanitizers watch. */
static void arbitrary_bytes_are_read_safely(void) {
    static uint8_t bytes[8192];
    static struct updraft_verifier verifier;
    static struct updraft_record record;
    static const uint8_t KEYS[1][UPDRAFT_SHA256_BYTES] = {{0}};
    const struct updraft_trust trust = {KEYS, 1, 1, NULL, NULL};
    struct updraft_traits traits;
    trying("arbitrary bytes");
    srand(2);
    for (int round = 0; round < 3000; round++) {
        const size_t count = (size_t)rand() % sizeof bytes;
        for (size_t i = 0; i < count; i++) {
            bytes[i] = (uint8_t)rand();
        }
        bytes[0] = rand() % 2 == 0 ? 0xE9 : 0xE7;
        bytes[1] = (uint8_t)(rand() % 4);
        bytes[23] = (uint8_t)(rand() % 2);
        bytes[30] = bytes[31] = 0;
        (void)updraft_prefix(bytes, count, &traits);
        updraft_verifier_begin(&verifier, round % 2 == 0 ? UPDRAFT_FILE : UPDRAFT_SLOT);
        updraft_verifier_add(&verifier, bytes, count);
        (void)updraft_verifier_verdict(&verifier);
        (void)updraft_signed(bytes, &trust);
        (void)updraft_record_read(&record, bytes);
        (void)updraft_url_is_good((const char *)bytes, count);
    }
}

void test_parts(void) {
    digests_are_those_of_the_standard();
    sentences_are_cut_at_characters_and_codes_never();
    urls_are_what_they_say();
    the_fullest_record_comes_back_and_a_torn_one_does_not();
    pieces_do_not_matter();
    arbitrary_bytes_are_read_safely();
}
