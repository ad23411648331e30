#include "text.h"

#include <string.h>

struct updraft_text updraft_text_in(char *buffer, size_t buffer_bytes) {
    struct updraft_text text = {buffer, buffer_bytes - 1, 0};
    buffer[0] = '\0';
    return text;
}

/* How many bytes a character of UTF-8 has that begins with this one. */
static size_t character_bytes(uint8_t first) {
    if (first < 0xC0) {
        return 1;
    }
    if (first < 0xE0) {
        return 2;
    }
    return first < 0xF0 ? 3 : 4;
}

static bool add_whole(struct updraft_text *text, const char *bytes, size_t count) {
    if (count > text->room - text->length) {
        return false;
    }
    memcpy(&text->begin[text->length], bytes, count);
    text->length += count;
    text->begin[text->length] = '\0';
    return true;
}

void updraft_text_add(struct updraft_text *text, const char *more) {
    while (*more != '\0') {
        const uint8_t first = (uint8_t)*more;
        const size_t wanted = character_bytes(first);
        size_t count = 1;
        while (count < wanted && ((uint8_t)more[count] & 0xC0U) == 0x80U) {
            count++;
        }
        if (!add_whole(text, (first < 0x20 || first == 0x7F) ? " " : more, count)) {
            return;
        }
        more += count;
    }
}

void updraft_text_add_json(struct updraft_text *text, const char *more) {
    char pair[3] = {'\\', '\0', '\0'};
    for (; *more != '\0'; more++) {
        pair[1] = *more;
        const bool is_escaped = *more == '"' || *more == '\\';
        const bool fits = is_escaped ? add_whole(text, pair, 2) : add_whole(text, (uint8_t)*more < 0x20 ? " " : more, 1);
        if (!fits) {
            return;
        }
    }
}

void updraft_text_add_number(struct updraft_text *text, uint32_t number) {
    char digits[11];
    size_t at = sizeof digits - 1;
    digits[at] = '\0';
    do {
        at--;
        digits[at] = (char)('0' + (char)(number % 10U));
        number /= 10U;
    } while (number > 0);
    updraft_text_add(text, &digits[at]);
}

static char hex_digit(unsigned nibble) { return "0123456789abcdef"[nibble & 15U]; }

void updraft_text_add_hex(struct updraft_text *text, uint32_t number) {
    char digits[9];
    size_t at = sizeof digits - 1;
    digits[at] = '\0';
    do {
        at--;
        digits[at] = hex_digit(number);
        number >>= 4;
    } while (number > 0);
    updraft_text_add(text, "0x");
    updraft_text_add(text, &digits[at]);
}

void updraft_text_add_bytes(struct updraft_text *text, const uint8_t *bytes, size_t count) {
    char digits[3] = {'\0', '\0', '\0'};
    for (size_t i = 0; i < count; i++) {
        digits[0] = hex_digit((unsigned)bytes[i] >> 4);
        digits[1] = hex_digit(bytes[i]);
        updraft_text_add(text, digits);
    }
}

void updraft_text_cut(struct updraft_text *text, size_t bytes) {
    while (text->length > bytes) {
        text->length--;
        while (text->length > 0 && ((uint8_t)text->begin[text->length] & 0xC0U) == 0x80U) {
            text->length--;
        }
    }
    while (text->length > 0 && text->begin[text->length - 1] == ' ') {
        text->length--;
    }
    text->begin[text->length] = '\0';
}

bool updraft_text_copy_part(char *to, size_t to_bytes, const char *from, size_t length) {
    const bool fits = length < to_bytes;
    if (fits) {
        memcpy(to, from, length);
    }
    to[fits ? length : 0] = '\0';
    return fits;
}

bool updraft_text_copy(char *to, size_t to_bytes, const char *from) {
    return updraft_text_copy_part(to, to_bytes, from, strlen(from));
}
