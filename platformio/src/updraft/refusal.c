#include "refusal.h"

#include <string.h>

static const char *const WORDS[] = {
    "",
#define SENTENCE(name, code, text) text,
    UPDRAFT_SENTENCES(SENTENCE)
#undef SENTENCE
};

static const char *const CODES[] = {
    "",
#define SENTENCE(name, code, text) code,
    UPDRAFT_SENTENCES(SENTENCE)
#undef SENTENCE
};

struct updraft_refusal updraft_refuse3(enum updraft_says says, uint32_t first, uint32_t second, uint32_t third) {
    const struct updraft_refusal refusal = {says, {first, second, third}};
    return refusal;
}

struct updraft_refusal updraft_refuse2(enum updraft_says says, uint32_t first, uint32_t second) {
    return updraft_refuse3(says, first, second, 0);
}

struct updraft_refusal updraft_refuse1(enum updraft_says says, uint32_t first) { return updraft_refuse3(says, first, 0, 0); }
struct updraft_refusal updraft_refuse(enum updraft_says says) { return updraft_refuse3(says, 0, 0, 0); }
struct updraft_refusal updraft_fine(void) { return updraft_refuse(UPDRAFT_SAYS_NOTHING); }
bool updraft_is_refused(const struct updraft_refusal *refusal) { return refusal->says != UPDRAFT_SAYS_NOTHING; }
const char *updraft_code(enum updraft_says says) { return says < UPDRAFT_SAYS_END ? CODES[says] : ""; }

/* The ids of esp_app_format.h (`esp_chip_id_t`). */
const char *updraft_chip_name(uint32_t id) {
    static const struct {
        uint16_t id;
        const char *name;
    } CHIPS[] = {{0x00, "esp32"},   {0x02, "esp32s2"}, {0x05, "esp32c3"},  {0x09, "esp32s3"},  {0x0C, "esp32c2"},
                 {0x0D, "esp32c6"}, {0x10, "esp32h2"}, {0x12, "esp32p4"},  {0x14, "esp32c61"}, {0x17, "esp32c5"},
                 {0x19, "esp32h21"}, {0x1C, "esp32h4"}, {0x20, "esp32s31"}};
    for (size_t i = 0; i < sizeof CHIPS / sizeof CHIPS[0]; i++) {
        if (CHIPS[i].id == id) {
            return CHIPS[i].name;
        }
    }
    return "an unknown chip";
}

/* Fills one gap; a sentence inside a sentence has no gaps of its own. */
static void fill(struct updraft_text *out, char gap, uint32_t number) {
    switch (gap) {
    case '#':
        updraft_text_add_number(out, number);
        break;
    case '$':
        updraft_text_add_hex(out, number);
        break;
    case '@':
        updraft_text_add(out, updraft_chip_name(number));
        break;
    case '%':
        updraft_text_add(out, "v");
        updraft_text_add_number(out, number / 100U);
        updraft_text_add(out, ".");
        updraft_text_add_number(out, number % 100U);
        break;
    default:
        updraft_text_add(out, number < (uint32_t)UPDRAFT_SAYS_END ? WORDS[number] : "");
        break;
    }
}

void updraft_tell(struct updraft_text *out, const struct updraft_refusal *refusal, const char *text) {
    size_t number = 0;
    char letter[2] = {'\0', '\0'};
    for (const char *at = WORDS[refusal->says]; *at != '\0'; at++) {
        if (*at == '~') {
            updraft_text_add(out, text);
        } else if (strchr("#$@%=", *at) != NULL) {
            fill(out, *at, number < 3 ? refusal->numbers[number] : 0);
            number++;
        } else {
            letter[0] = *at;
            updraft_text_add(out, letter);
        }
    }
}

void updraft_reason(char out[UPDRAFT_REASON_BYTES + 1], const struct updraft_refusal *refusal, const char *text) {
    struct updraft_text reason = updraft_text_in(out, UPDRAFT_REASON_BYTES + 1);
    const char *const code = updraft_code(refusal->says);
    updraft_tell(&reason, refusal, text);
    updraft_text_cut(&reason, UPDRAFT_REASON_BYTES - strlen(code) - strlen(" []"));
    updraft_text_add(&reason, " [");
    updraft_text_add(&reason, code);
    updraft_text_add(&reason, "]");
}

bool updraft_is_coded(const char *reason, const char *code) {
    const size_t wanted = strlen(code) + 2;
    const size_t length = strlen(reason);
    if (length < wanted) {
        return false;
    }
    const char *const end = &reason[length - wanted];
    return end[0] == '[' && memcmp(&end[1], code, wanted - 2) == 0 && end[wanted - 1] == ']';
}
