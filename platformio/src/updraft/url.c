#include "url.h"

#include <string.h>

static bool is_graphic(char letter) { return letter > ' ' && letter < 0x7F; }

static char lower(char letter) { return (letter >= 'A' && letter <= 'Z') ? (char)(letter - 'A' + 'a') : letter; }

static bool begins_with(const char *bytes, size_t count, const char *prefix) {
    for (size_t i = 0; prefix[i] != '\0'; i++) {
        if (i >= count || lower(bytes[i]) != prefix[i]) {
            return false;
        }
    }
    return true;
}

/* Where the host begins; 0 if it is neither http nor https. */
static size_t host_at(const char *bytes, size_t count) {
    if (begins_with(bytes, count, "http://")) {
        return 7;
    }
    return begins_with(bytes, count, "https://") ? 8 : 0;
}

static bool is_alphanumeric(char letter) {
    return (lower(letter) >= 'a' && lower(letter) <= 'z') || (letter >= '0' && letter <= '9');
}

/* Whether the text is nothing, or a colon and a port. */
static bool is_port(const char *bytes, size_t count) {
    uint32_t port = 0;
    if (count == 0 || (count == 1 && bytes[0] == ':')) {
        return true;
    }
    if (bytes[0] != ':' || count > 6) {
        return false;
    }
    for (size_t i = 1; i < count; i++) {
        if (bytes[i] < '0' || bytes[i] > '9') {
            return false;
        }
        port = port * 10U + (uint32_t)(bytes[i] - '0');
    }
    return port > 0 && port <= UINT16_MAX;
}

bool updraft_url_is_good(const char *bytes, size_t count) {
    const size_t host = host_at(bytes, count);
    if (count > UPDRAFT_URL_BYTES || host == 0) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!is_graphic(bytes[i])) {
            return false;
        }
    }
    size_t end = host;
    while (end < count && strchr("/?#", bytes[end]) == NULL) {
        end++;
    }
    size_t at = host;
    if (at < end && bytes[at] == '[') {
        while (at < end && bytes[at] != ']') {
            at++;
        }
        return at < end && at > host + 2 && is_port(&bytes[at + 1], end - at - 1);
    }
    while (at < end && (is_alphanumeric(bytes[at]) || strchr("-_.", bytes[at]) != NULL)) {
        at++;
    }
    return at > host && is_port(&bytes[at], end - at);
}

uint32_t updraft_url_path_tag(const char *url) {
    /* FNV-1a. Nothing depends on it: where two paths share a tag, If-Range tells the files apart. */
    uint32_t tag = 0x811C9DC5U;
    for (; *url != '\0' && *url != '?'; url++) {
        tag = (tag ^ (uint8_t)*url) * 0x01000193U;
    }
    return tag;
}

void updraft_version_copy(char version[UPDRAFT_VERSION_BYTES + 1], const char *bytes, size_t count) {
    version[0] = '\0';
    while (count > 0 && strchr(" \t\r\n", bytes[count - 1]) != NULL) {
        count--;
    }
    while (count > 0 && strchr(" \t\r\n", bytes[0]) != NULL) {
        bytes++;
        count--;
    }
    if (count > 1 && bytes[0] == 'v' && bytes[1] >= '0' && bytes[1] <= '9') {
        bytes++;
        count--;
    }
    for (size_t i = 0; i < count; i++) {
        /* Quotes and backslashes would have to be escaped in every report. */
        if ((!is_graphic(bytes[i]) && bytes[i] != ' ') || bytes[i] == '"' || bytes[i] == '\\') {
            return;
        }
    }
    (void)updraft_text_copy_part(version, UPDRAFT_VERSION_BYTES + 1, bytes, count);
}

void updraft_url_version(const char *url, char version[UPDRAFT_VERSION_BYTES + 1]) {
    static const char FILE_NAME[] = "/firmware.bin";
    static const char FOLDER[] = "/releases/v";
    char text[UPDRAFT_VERSION_BYTES + 1];
    const size_t name = sizeof FILE_NAME - 1;
    const size_t folder = sizeof FOLDER - 1;
    const size_t path = strcspn(url, "?#");
    size_t length = 0;
    version[0] = '\0';
    if (path < name + folder || memcmp(&url[path - name], FILE_NAME, name) != 0) {
        return;
    }
    size_t begin = path - name;
    while (begin > 0 && url[begin - 1] != '/') {
        begin--;
    }
    begin++; /* The slash belongs to the folder's name, and so does the letter behind it. */
    if (begin < folder || memcmp(&url[begin - folder], FOLDER, folder) != 0) {
        return;
    }
    for (size_t i = begin; i < path - name; i++) {
        char letter = url[i];
        if (letter == '%') {
            /* Build metadata is the one part of a version that URLs may encode. */
            if (url[i + 1] != '2' || lower(url[i + 2]) != 'b') {
                return;
            }
            letter = '+';
            i += 2;
        }
        if (length >= UPDRAFT_VERSION_BYTES) {
            return;
        }
        text[length] = letter;
        length++;
    }
    updraft_version_copy(version, text, length);
}

struct updraft_refusal updraft_url_follow(char url[UPDRAFT_URL_BYTES + 1], const char *location) {
    const size_t host = host_at(url, strlen(url));
    const size_t length = strcspn(location, "#");
    size_t kept = 0;
    if (location[0] == '/' && location[1] == '/') {
        kept = host - 2;
    } else if (location[0] == '/') {
        kept = host + strcspn(&url[host], "/?#");
    } else if (host_at(location, length) == 0) {
        return updraft_refuse(UPDRAFT_SAYS_URL);
    }
    if (length > UPDRAFT_URL_BYTES - kept) {
        return updraft_refuse(UPDRAFT_SAYS_LONG_LOCATION);
    }
    memcpy(&url[kept], location, length);
    url[kept + length] = '\0';
    if (!updraft_url_is_good(url, kept + length)) {
        return updraft_refuse(UPDRAFT_SAYS_URL);
    }
    if (host == 8 && host_at(url, kept + length) != 8) {
        return updraft_refuse(UPDRAFT_SAYS_DOWNGRADE);
    }
    return updraft_fine();
}

static bool is_digit(char letter) { return letter >= '0' && letter <= '9'; }

/* Takes the next number of a triple off a text; its digits without leading zeros. */
static size_t next_part(const char **text, const char **digits) {
    while (**text == '0' && is_digit((*text)[1])) {
        (*text)++;
    }
    *digits = *text;
    const size_t length = strspn(*text, "0123456789");
    *text += length;
    if (**text == '.' && is_digit((*text)[1])) {
        (*text)++;
    }
    return length;
}

bool updraft_version_equals(const char *left, const char *right) {
    left += (*left == 'v' && is_digit(left[1])) ? 1 : 0;
    right += (*right == 'v' && is_digit(right[1])) ? 1 : 0;
    while (is_digit(*left) || is_digit(*right)) {
        const char *first = "0";
        const char *second = "0";
        const size_t first_length = is_digit(*left) ? next_part(&left, &first) : 1;
        const size_t second_length = is_digit(*right) ? next_part(&right, &second) : 1;
        if (first_length != second_length || memcmp(first, second, first_length) != 0) {
            return false;
        }
    }
    const size_t length = strcspn(left, "+ (");
    return length == strcspn(right, "+ (") && memcmp(left, right, length) == 0;
}
